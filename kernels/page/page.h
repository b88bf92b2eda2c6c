// Kernels that write KV memory: appending new keys and values, copying groups of blocks. All
// offsets are 64-bit.
#pragma once

#include <cstddef>
#include <cstdint>

#include "harness/contract/step_descriptor.h"
#include "kernels/page/kv_layout.h"

namespace kvrm {

// Rounds new keys and values to the KV type and writes each row's at its place. One item per row.
struct AppendKvArgs {
  KvLayout layout;
  std::byte* pool = nullptr;     // [block, layout.block_bytes()], one layer
  const float* key = nullptr;    // [rows, kv_heads, head_dim]
  const float* value = nullptr;  // [rows, kv_heads, head_dim]
  const std::uint64_t* write_slot =
      nullptr;  // [rows] block * block_tokens + offset; kNoWrite: the row writes nothing
  std::uint32_t row_stride = 0;  // floats between rows of key and of value
};

// A contiguous span of blocks of one history: `blocks` logical blocks from `logical`, at physical
// blocks from `physical` on. blocks == 0: unused entry.
struct KvGroup {
  std::uint32_t logical = 0;
  std::uint32_t physical = 0;
  std::uint32_t blocks = 0;
  std::uint32_t reserved = 0;
};

// Copies every group of every history into a contiguous view: view row r holds logical blocks 0, 1,
// ... in order. One item per view row.
struct GatherGroupsArgs {
  std::uint64_t block_bytes = 0;    // of one layer
  const std::byte* pool = nullptr;  // [block, block_bytes]
  std::byte* view = nullptr;        // [rows, view_stride]
  std::uint64_t view_stride = 0;    // bytes
  const KvGroup* groups = nullptr;  // [rows, group_stride], used entries first
  std::uint32_t group_stride = 0;
  // How much a launch copies: for the choice of a loop, not of what is copied.
  std::uint32_t rows = 0;
  const std::uint32_t* length = nullptr;  // [rows] tokens
  std::uint64_t token_bytes = 0;          // of one layer
};

// Copies whole blocks inside a pool, in every layer, as the step descriptor orders. No destination
// of one launch is a source or a destination of another copy in it. A launch has any fixed number
// of `items`: item i takes every items-th of the (copy, layer) pairs, from the i-th on.
struct CopyBlocksArgs {
  std::uint64_t block_bytes = 0;      // of one layer
  std::uint64_t layer_bytes = 0;      // from a layer of the pool to the next
  std::byte* pool = nullptr;          // [layers] of [block, block_bytes]
  const BlockCopy* copies = nullptr;  // [*count]
  const std::uint32_t* count = nullptr;
  std::uint32_t layers = 0;
  std::uint32_t items = 0;
};

// Copies groups of blocks from the pool into views, in every layer (transport `delta`): as
// CopyBlocksArgs, but a destination is a place in a slot's contiguous view.
struct StageGroupsArgs {
  std::uint64_t block_bytes = 0;       // of one layer
  std::uint64_t layer_bytes = 0;       // from a layer of the pool to the next
  const std::byte* pool = nullptr;     // [layers] of [block, block_bytes]
  std::byte* view = nullptr;           // [layers] of [slots, view_stride]
  std::uint64_t view_stride = 0;       // bytes of one slot's view of one layer
  std::uint64_t view_layer_bytes = 0;  // from a layer of the view to the next
  const StageCopy* copies = nullptr;   // [*count]
  const std::uint32_t* count = nullptr;
  std::uint32_t layers = 0;
  std::uint32_t items = 0;
  // Where *stage_all is not 0, the list is empty and every group of every row whose length is not 0
  // is staged.
  std::uint32_t rows = 0;
  std::uint32_t group_stride = 0;
  const std::uint32_t* stage_all = nullptr;
  const std::uint32_t* length = nullptr;  // [rows]
  const KvGroup* groups = nullptr;        // [rows, group_stride], used entries first
};

// Where each row's new position goes in contiguous views, as AppendKvArgs::write_slot: row r's view
// begins at row_tokens * r. One item.
struct ViewSlotsArgs {
  std::uint32_t rows = 0;
  std::uint32_t reserved = 0;
  std::uint64_t row_tokens = 0;
  const std::uint32_t* length = nullptr;  // [rows] 0: the row writes nothing
  std::uint64_t* write_slot = nullptr;    // [rows]
};

// Updates far histories (DESIGN 9) as the step descriptor orders, in the order of the list. One
// item per (layer, kv head): item = layer * kv_heads + head. A history's radii lie in one block of
// the pool: for each kv head, [entry] of {rho_k, rho_v} as f32, from head_bytes() * head on.
//
// The arithmetic is part of the definition, so that engines and the oracle store the same bits from
// the same keys and values. A block's mean: the sum over its tokens in ascending order, in double,
// divided by the count. A merge: (count * entry + source_count * source) / (count + source_count),
// in double, from the stored means. Either is rounded to f32 and then to the KV type. Radii are
// taken from what is stored, and rounded up so that they never understate.
struct FarUpdateArgs {
  KvLayout layout;
  std::uint64_t layer_bytes = 0;       // from a layer of the pool to the next
  std::byte* pool = nullptr;           // [layers] of [block, layout.block_bytes()]
  const FarUpdate* updates = nullptr;  // [*count]
  const std::uint32_t* count = nullptr;
};

// Reads one key or value element back as f32; for tests and the oracle, not for speed.
float load_key(const KvLayout& layout, const std::byte* block, std::uint32_t head,
               std::uint32_t token, std::uint32_t dim);
float load_value(const KvLayout& layout, const std::byte* block, std::uint32_t head,
                 std::uint32_t token, std::uint32_t dim);

}  // namespace kvrm
