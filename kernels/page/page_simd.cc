#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/page/page_simd.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <cstring>

#include "harness/base/check.h"
#include "kernels/page/page.h"
#include "kernels/page/page_kernels.h"
#include "kernels/simd/convert-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvrm {
namespace HWY_NAMESPACE {
namespace {

constexpr std::uint32_t kMaxHeadDim = 256;

void round_to(DType dtype, const float* source, std::uint32_t count, std::uint16_t* rounded) {
  if (dtype == DType::f16) return round_to_f16(source, count, rounded);
  round_to_bf16(source, count, rounded);
}

// Writes one token's elements of `Bytes` each at their distance in a transposed group of Lanes.
template <std::size_t Lanes, std::size_t Bytes>
void scatter(const void* elements, std::uint32_t count, std::byte* place) {
  const auto* source = static_cast<const std::byte*>(elements);
  for (std::uint32_t i = 0; i < count; ++i) {
    std::memcpy(place + i * Lanes * Bytes, source + i * Bytes, Bytes);
  }
}

// `place` is the token's first key element; a bf16 element is a pair of dimensions.
template <std::size_t Lanes>
void write_key(const KvLayout& layout, const float* key, std::byte* place) {
  if (layout.dtype == DType::f32) return scatter<Lanes, 4>(key, layout.head_dim, place);
  std::uint16_t rounded[kMaxHeadDim];
  round_to(layout.dtype, key, layout.head_dim, rounded);
  if (layout.dtype == DType::f16) return scatter<Lanes, 2>(rounded, layout.head_dim, place);
  scatter<Lanes, 4>(rounded, layout.head_dim / 2, place);
}

void write_value(const KvLayout& layout, const float* value, std::byte* place) {
  if (layout.dtype == DType::f32) {
    std::memcpy(place, value, layout.head_dim * sizeof(float));
  } else {
    round_to(layout.dtype, value, layout.head_dim, reinterpret_cast<std::uint16_t*>(place));
  }
}

template <std::size_t Lanes>
void append_row(const AppendKvArgs& args, std::uint32_t row, std::uint64_t slot) {
  const KvLayout& layout = args.layout;
  std::byte* block = args.pool + (slot / layout.block_tokens) * layout.block_bytes();
  const auto token = static_cast<std::uint32_t>(slot % layout.block_tokens);
  const std::size_t first = std::size_t{row} * args.row_stride;
  for (std::uint32_t head = 0; head < layout.kv_heads; ++head) {
    const std::size_t from = first + head * layout.head_dim;
    write_key<Lanes>(layout, args.key + from, block + layout.key_offset(head, token, 0));
    write_value(layout, args.value + from, block + layout.value_offset(head, token, 0));
  }
}

void append_kv(const void* raw_args, std::uint32_t row, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const AppendKvArgs*>(raw_args);
  KVRM_CHECK_LE(args.layout.head_dim, kMaxHeadDim);
  const std::uint64_t slot = args.write_slot[row];
  if (slot == kNoWrite) return;
  if (args.layout.lane_tokens() == kLaneTokens) return append_row<kLaneTokens>(args, row, slot);
  append_row<kSmallBlockTokens>(args, row, slot);
}

#if HWY_TARGET == HWY_AVX3
constexpr Kernel kAppendKv = {"append_kv/avx512", append_kv};
#elif HWY_TARGET == HWY_AVX2
constexpr Kernel kAppendKv = {"append_kv/avx2", append_kv};
#else
constexpr Kernel kAppendKv = {"append_kv/sse4", append_kv};
#endif

}  // namespace

const Kernel& append_kv_kernel() { return kAppendKv; }

}  // namespace HWY_NAMESPACE
}  // namespace kvrm
HWY_AFTER_NAMESPACE();
