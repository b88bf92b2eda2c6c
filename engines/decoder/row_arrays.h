// The per-row inputs of a step, in device memory at fixed addresses. Which request a row serves is
// the engines' business.
#pragma once

#include <cstddef>
#include <cstdint>

#include "harness/base/ids.h"
#include "harness/contract/step_descriptor.h"

namespace kvrm {

// All arrays have capacity for a whole number of row tiles (kRowTile); every field of every row is
// defined, padding rows included.
struct RowArrays {
  TokenId* token = nullptr;  // kNoToken for padding and attention_only
  std::uint32_t* position = nullptr;
  std::uint32_t* length = nullptr;   // positions attention reads, the row's own included; 0:
                                     // padding; with far history of the virtual history (FarSpan)
  std::uint32_t* history = nullptr;  // row of the KV source's tables
  std::uint64_t* write_slot = nullptr;  // where the row's key and value go; kNoWrite: nowhere
  std::uint64_t* content_key = nullptr;
  FarSpan* far = nullptr;
};

// Bytes that RowArrays for `rows` rows take, and the arrays laid out in them (memory aligned to 64
// bytes).
std::size_t row_arrays_bytes(std::uint32_t rows);
RowArrays place_row_arrays(std::byte* memory, std::uint32_t rows);

// All fields of one row. As it is made it is a padding row: it reads and writes nothing.
struct RowInput {
  TokenId token = kNoToken;
  std::uint32_t position = 0;
  std::uint32_t length = 0;
  std::uint32_t history = 0;
  std::uint64_t write_slot = kNoWrite;
  std::uint64_t content_key = 0;
  FarSpan far;
};

void set_row(const RowArrays& arrays, std::uint32_t row, const RowInput& input);
// Rows [first, end) become padding.
void clear_rows(const RowArrays& arrays, std::uint32_t first, std::uint32_t end);

}  // namespace kvrm
