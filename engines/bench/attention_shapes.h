// The batches that the suite `attention` measures, as data: whose histories are how long, in which
// number type. How they lie in memory is the designs' business.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "harness/bench/bench.h"
#include "harness/contract/model.h"

namespace kvrm {

struct AttentionShape {
  std::string name;
  DType dtype = DType::bf16;
  std::uint32_t query_heads = 32;
  std::uint32_t kv_heads = 8;
  std::uint32_t head_dim = 128;
  std::uint32_t max_len = 0;           // positions that every slot has room for
  std::vector<std::uint32_t> lengths;  // of the batch's histories
  bool sweep = false;                  // one of many points: half of the rounds do
  // KV that one measurement should read: short batches are repeated over more layers.
  std::uint64_t live_bytes_wanted = 0;

  std::uint64_t token_bytes() const {  // of one layer
    return std::uint64_t{2} * kv_heads * head_dim * dtype_bytes(dtype);
  }
  std::uint64_t live_positions() const;
  std::uint64_t padded_positions() const { return std::uint64_t{max_len} * lengths.size(); }
  std::uint32_t layers() const;
  std::uint64_t pool_bytes() const { return padded_positions() * token_bytes() * layers(); }
};

std::vector<AttentionShape> attention_shapes(BenchSize size);

}  // namespace kvrm
