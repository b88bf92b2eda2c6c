#include "engines/descriptor/advance_rows.h"

#include <hwy/highway.h>

#include <bit>

#include "engines/descriptor/image_check.h"
#include "harness/base/units.h"
#include "kernels/linear/linear.h"

HWY_BEFORE_NAMESPACE();
namespace kvrm {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Vectors of the oldest instruction set that the kernels support: the pass is short, and what
// bounds it is memory.
constexpr hn::FixedTag<std::uint32_t, 4> kWords;
constexpr hn::FixedTag<std::int32_t, 2> kHalf;
constexpr hn::FixedTag<std::int64_t, 2> kLongs;
using Words = hn::Vec<decltype(kWords)>;
using Longs = hn::Vec<decltype(kLongs)>;

// Lanes of a row are all ones where the row is active, or where it left its bounds. Made with a
// value for every member, which clang-tidy cannot know.
struct Pass {  // NOLINT(cppcoreguidelines-pro-type-member-init)
  RowArrays rows;
  Words last_position;
  Words max_length;
  Words token;
  Longs block_mask;
  Words bad_place;
  Longs bad_write;

  // Two rows, from `row` on.
  void advance_writes(std::uint32_t row, hn::Vec<decltype(kHalf)> active_words) {
    const Longs active = hn::PromoteTo(kLongs, active_words);
    auto* write_slot = reinterpret_cast<std::int64_t*>(rows.write_slot + row);
    const Longs next = hn::Sub(hn::LoadU(kLongs, write_slot), active);
    hn::StoreU(next, kLongs, write_slot);
    const auto border = hn::Eq(hn::And(next, block_mask), hn::Zero(kLongs));
    bad_write = hn::Or(bad_write, hn::And(active, hn::VecFromMask(kLongs, border)));
  }

  // Four rows.
  void advance(std::uint32_t row) {
    const Words length = hn::LoadU(kWords, rows.length + row);
    const Words active = hn::VecFromMask(kWords, hn::Ne(length, hn::Zero(kWords)));
    const Words next_length = hn::Sub(length, active);
    const Words next_position = hn::Sub(hn::LoadU(kWords, rows.position + row), active);
    hn::StoreU(next_length, kWords, rows.length + row);
    hn::StoreU(next_position, kWords, rows.position + row);
    hn::StoreU(hn::Or(hn::And(active, token), hn::Not(active)), kWords, rows.token + row);
    const auto beyond =
        hn::Or(hn::Gt(next_position, last_position), hn::Gt(next_length, max_length));
    bad_place = hn::Or(bad_place, hn::And(active, hn::VecFromMask(kWords, beyond)));
    const auto signed_active = hn::BitCast(hn::RebindToSigned<decltype(kWords)>(), active);
    advance_writes(row, hn::LowerHalf(kHalf, signed_active));
    advance_writes(row + 2, hn::UpperHalf(kHalf, signed_active));
  }

  bool all_fit() const {
    return hn::AllTrue(kWords, hn::Eq(bad_place, hn::Zero(kWords))) &&
           hn::AllTrue(kLongs, hn::Eq(bad_write, hn::Zero(kLongs)));
  }
};

// For blocks that are no power of two; called after the pass.
bool any_at_a_border(const RowArrays& rows, const StepLimits& limits) {
  for (std::uint32_t row = 0; row < limits.shape.slots; ++row) {
    if (rows.length[row] != 0 && rows.write_slot[row] % limits.block_tokens == 0) return true;
  }
  return false;
}

}  // namespace

bool advance_rows(const RowArrays& rows, const StepLimits& limits) {
  static_assert(kNoToken == ~TokenId{0} && kRowTile % 4 == 0);
  const bool power = std::has_single_bit(limits.block_tokens);
  Pass pass{rows,
            hn::Set(kWords, limits.max_position - 1),
            hn::Set(kWords, limits.max_length),
            hn::Set(kWords, limits.vocabulary > 0 ? kSampledToken : kNoToken),
            hn::Set(kLongs, power ? std::int64_t{limits.block_tokens} - 1 : -1),
            hn::Zero(kWords),
            hn::Zero(kLongs)};
  const auto end = static_cast<std::uint32_t>(round_up(limits.shape.slots, kRowTile));
  for (std::uint32_t row = 0; row < end; row += 4) pass.advance(row);
  return pass.all_fit() && (power || !any_at_a_border(rows, limits));
}

void keep_rows(const RowArrays& rows, const StepLimits& limits) {
  for (std::uint32_t row = 0; row < limits.shape.slots; ++row) {
    if (rows.token[row] == kSampledToken) rows.token[row] = kKeptToken;
  }
}

}  // namespace kvrm
HWY_AFTER_NAMESPACE();
