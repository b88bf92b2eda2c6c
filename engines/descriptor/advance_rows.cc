#include "engines/descriptor/advance_rows.h"

#include <bit>

#include "engines/descriptor/image_check.h"
#include "harness/base/units.h"
#include "kernels/linear/linear.h"

namespace kvrm {
namespace {

// One tile of rows, so that the loop's length is a constant. Returns whether a row left its bounds.
struct Tile {
  TokenId* __restrict token;
  std::uint32_t* __restrict position;
  std::uint32_t* __restrict length;
  std::uint64_t* __restrict write_slot;
};

struct Bounds {
  std::uint32_t position = 0;
  std::uint32_t length = 0;
  std::uint64_t block_mask = 0;  // block_tokens - 1; 0 where that is not one less than a power of 2
  TokenId token = kNoToken;
};

std::uint32_t advance_places(const Tile& tile, const Bounds& bounds) {
  std::uint32_t bad = 0;
  for (std::uint32_t i = 0; i < kRowTile; ++i) {
    const std::uint32_t active = tile.length[i] != 0 ? 1U : 0U;
    tile.position[i] += active;
    tile.length[i] += active;
    tile.token[i] = active != 0 ? bounds.token : kNoToken;
    bad |= (tile.position[i] >= bounds.position ? active : 0U) |
           (tile.length[i] > bounds.length ? active : 0U);
  }
  return bad;
}

// Called after advance_places().
std::uint64_t advance_writes(const Tile& tile, const Bounds& bounds) {
  std::uint64_t bad = 0;
  for (std::uint32_t i = 0; i < kRowTile; ++i) {
    const std::uint64_t active = tile.length[i] != 0 ? 1U : 0U;
    tile.write_slot[i] += active;
    bad |= (tile.write_slot[i] & bounds.block_mask) == 0 ? active : 0U;
  }
  return bad;
}

bool leaves_its_block(const Tile& tile, std::uint32_t block_tokens) {
  for (std::uint32_t i = 0; i < kRowTile; ++i) {
    if (tile.length[i] != 0 && tile.write_slot[i] % block_tokens == 0) return true;
  }
  return false;
}

}  // namespace

bool advance_rows(const RowArrays& rows, const StepLimits& limits) {
  const bool power = std::has_single_bit(limits.block_tokens);
  const Bounds bounds{.position = limits.max_position,
                      .length = limits.max_length,
                      .block_mask = power ? limits.block_tokens - 1 : ~std::uint64_t{0},
                      .token = limits.vocabulary > 0 ? kSampledToken : kNoToken};
  std::uint64_t bad = 0;
  for (std::uint32_t row = 0; row < round_up(limits.shape.slots, kRowTile); row += kRowTile) {
    const Tile tile{rows.token + row, rows.position + row, rows.length + row,
                    rows.write_slot + row};
    bad |= advance_places(tile, bounds);
    bad |= advance_writes(tile, bounds);
    if (!power) bad |= leaves_its_block(tile, limits.block_tokens) ? 1U : 0U;
  }
  return bad == 0;
}

void keep_rows(const RowArrays& rows, const StepLimits& limits) {
  for (std::uint32_t row = 0; row < limits.shape.slots; ++row) {
    if (rows.token[row] == kSampledToken) rows.token[row] = kKeptToken;
  }
}

}  // namespace kvrm
