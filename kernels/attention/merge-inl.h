// Partials of chunks merged in ascending order, for each SIMD target.
#if defined(KVRM_KERNELS_ATTENTION_MERGE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVRM_KERNELS_ATTENTION_MERGE_INL_H_
#undef KVRM_KERNELS_ATTENTION_MERGE_INL_H_
#else
#define KVRM_KERNELS_ATTENTION_MERGE_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>

#include "kernels/simd/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvrm {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// One head's partial into `merged`, which has the layout of a partial. What is merged into nothing
// (maximum -infinity, sum 0, accumulators 0) comes out as it is.
inline void merge_partial(float* merged, const float* partial, std::size_t head_dim) {
  if (partial[head_dim + 1] == 0) return;  // all gap
  const hn::CappedTag<float, 8> d;
  const float maximum = std::max(merged[head_dim], partial[head_dim]);
  const auto keep = fast_exp(d, hn::Set(d, merged[head_dim] - maximum));
  const auto add = fast_exp(d, hn::Set(d, partial[head_dim] - maximum));
  merged[head_dim] = maximum;
  merged[head_dim + 1] =
      merged[head_dim + 1] * hn::GetLane(keep) + partial[head_dim + 1] * hn::GetLane(add);
  for (std::size_t dim = 0; dim < head_dim; dim += hn::MaxLanes(d)) {
    const auto kept = hn::Mul(hn::LoadU(d, merged + dim), keep);
    hn::StoreU(hn::MulAdd(hn::LoadU(d, partial + dim), add, kept), d, merged + dim);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvrm
HWY_AFTER_NAMESPACE();

#endif  // include guard for each target
