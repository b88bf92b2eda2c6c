// A run of physical blocks and a move of one block: the two values that the parts of the pager
// hand each other. They say nothing about who owns the blocks.
#pragma once

#include <cstdint>

#include "harness/base/ids.h"

namespace kvrm {

// Blocks first, first + 1, ... first + blocks - 1.
struct BlockRun {
  BlockIndex first = 0;
  std::uint32_t blocks = 0;
};

// The content of one block is to be copied to another.
struct BlockMove {
  BlockIndex source = 0;
  BlockIndex destination = 0;
};

}  // namespace kvrm
