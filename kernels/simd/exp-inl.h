// A fast exp for softmax and SwiGLU, for each SIMD target. A lane's result depends on that lane
// only, never on how many there are. Not std::exp: see the error bound.
#if defined(KVRM_KERNELS_SIMD_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVRM_KERNELS_SIMD_EXP_INL_H_
#undef KVRM_KERNELS_SIMD_EXP_INL_H_
#else
#define KVRM_KERNELS_SIMD_EXP_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace kvrm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// exp(x) = 2^n exp(r) with r = x - n ln 2 in [-ln 2 / 2, ln 2 / 2] and exp(r) by its Taylor series
// to r^7, whose remainder is below 1e-8; the result is within 2e-7 of exp(x), relatively. Exactly 1
// at 0; exactly 0 below -87.3, -infinity included; exp(88) above 88.
template <class D>
HWY_INLINE hn::Vec<D> fast_exp(D d, hn::Vec<D> x) {
  const hn::RebindToSigned<D> di;
  const auto underflow = hn::Lt(x, hn::Set(d, -87.3F));
  const auto clamped = hn::Min(hn::Max(x, hn::Set(d, -87.3F)), hn::Set(d, 88.0F));
  const auto n = hn::Round(hn::Mul(clamped, hn::Set(d, 1.44269504F)));
  auto r = hn::NegMulAdd(n, hn::Set(d, 0x1.62e4p-1F), clamped);  // ln 2 in two parts
  r = hn::NegMulAdd(n, hn::Set(d, 0x1.7f7d1cp-20F), r);
  auto series = hn::Set(d, 1.0F / 5040);
  series = hn::MulAdd(series, r, hn::Set(d, 1.0F / 720));
  series = hn::MulAdd(series, r, hn::Set(d, 1.0F / 120));
  series = hn::MulAdd(series, r, hn::Set(d, 1.0F / 24));
  series = hn::MulAdd(series, r, hn::Set(d, 1.0F / 6));
  series = hn::MulAdd(series, r, hn::Set(d, 0.5F));
  series = hn::MulAdd(series, r, hn::Set(d, 1.0F));
  series = hn::MulAdd(series, r, hn::Set(d, 1.0F));
  const auto exponent = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, n), hn::Set(di, 127)));
  return hn::IfThenZeroElse(underflow, hn::Mul(series, hn::BitCast(d, exponent)));
}

}  // namespace HWY_NAMESPACE
}  // namespace kvrm
HWY_AFTER_NAMESPACE();

#endif  // include guard for each target
