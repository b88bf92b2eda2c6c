// Loads of KV elements as f32 vectors and rounding of f32 vectors to 16 bits, for each SIMD target.
// Bit for bit what harness/base/half.h does, except for the payload of NaNs.
#if defined(KVRM_KERNELS_SIMD_CONVERT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVRM_KERNELS_SIMD_CONVERT_INL_H_
#undef KVRM_KERNELS_SIMD_CONVERT_INL_H_
#else
#define KVRM_KERNELS_SIMD_CONVERT_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

#include "harness/base/half.h"

HWY_BEFORE_NAMESPACE();
namespace kvrm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// D is a tag of f32 lanes; the source needs no alignment.
template <class D>
hn::Vec<D> load_floats(D d, const float* source) {
  return hn::LoadU(d, source);
}

template <class D>
hn::Vec<D> load_floats(D d, const hwy::float16_t* source) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::float16_t, D>(), source));
}

template <class D>
hn::Vec<D> load_floats(D d, const hwy::bfloat16_t* source) {
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<hwy::bfloat16_t, D>(), source));
}

// The same of what is loaded already.
template <class D>
hn::Vec<D> to_floats(D /*d*/, hn::Vec<D> loaded) {
  return loaded;
}

template <class D>
hn::Vec<D> to_floats(D d, hn::Vec<hn::Rebind<hwy::float16_t, D>> loaded) {
  return hn::PromoteTo(d, loaded);
}

// Pairs of bf16, the even one in the lower half of its lane, as two vectors.
template <class D>
HWY_INLINE void widen_pairs(D d, hn::Vec<hn::RebindToUnsigned<D>> pairs, hn::Vec<D>& even,
                            hn::Vec<D>& odd) {
  const hn::RebindToUnsigned<D> du;
  even = hn::BitCast(d, hn::ShiftLeft<16>(pairs));
  odd = hn::BitCast(d, hn::And(pairs, hn::Set(du, 0xffff0000U)));
}

// The upper halves of the lanes are the rounded values (Highway's own DemoteTo truncates).
template <class V>
auto round_to_bf16(V value) {
  const hn::RebindToUnsigned<hn::DFromV<V>> du;
  const auto bits = hn::BitCast(du, value);
  const auto upper_is_odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto rounded = hn::Add(bits, hn::Add(hn::Set(du, 0x7fff), upper_is_odd));
  const auto quiet = hn::Or(bits, hn::Set(du, 0x400000));
  return hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(value)), quiet, rounded);
}

// Any count; the last lanes are done one by one.
inline void round_to_bf16(const float* source, std::size_t count, std::uint16_t* rounded) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> d32;
  const hn::Rebind<std::uint16_t, decltype(d)> d16;
  std::size_t i = 0;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    const auto upper = hn::ShiftRight<16>(round_to_bf16(hn::LoadU(d, source + i)));
    hn::StoreU(hn::DemoteTo(d16, hn::BitCast(d32, upper)), d16, rounded + i);
  }
  for (; i < count; ++i) rounded[i] = float_to_bf16(source[i]);
}

// The same values, kept as f32.
inline void round_to_bf16(const float* source, std::size_t count, float* rounded) {
  const hn::ScalableTag<float> d;
  const hn::RebindToUnsigned<decltype(d)> d32;
  std::size_t i = 0;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    const auto bits = round_to_bf16(hn::LoadU(d, source + i));
    hn::StoreU(hn::BitCast(d, hn::And(bits, hn::Set(d32, 0xffff0000U))), d, rounded + i);
  }
  for (; i < count; ++i) rounded[i] = bf16_to_float(float_to_bf16(source[i]));
}

// Any count. Highway rounds to f16 correctly only where the CPU does it.
inline void round_to_f16(const float* source, std::size_t count, std::uint16_t* rounded) {
  std::size_t i = 0;
#if HWY_CAP_GE256
  const hn::ScalableTag<float> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> d16;
  const hn::Rebind<std::uint16_t, decltype(d)> du16;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    const auto half = hn::DemoteTo(d16, hn::LoadU(d, source + i));
    hn::StoreU(hn::BitCast(du16, half), du16, rounded + i);
  }
#endif
  for (; i < count; ++i) rounded[i] = float_to_f16(source[i]);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvrm
HWY_AFTER_NAMESPACE();

#endif  // include guard for each target
