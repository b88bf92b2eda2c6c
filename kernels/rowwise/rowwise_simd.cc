#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rowwise/rowwise_simd.cc"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "harness/contract/content.h"
#include "kernels/rowwise/rowwise.h"
#include "kernels/rowwise/rowwise_kernels.h"
#include "kernels/simd/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvrm {
namespace HWY_NAMESPACE {
namespace {

using Tag = hn::ScalableTag<float>;
constexpr std::uint32_t kLanes = HWY_LANES(float);
using EightTag = hn::CappedTag<float, 8>;  // head_dim is a multiple of eight
constexpr std::uint32_t kEightLanes = std::min(kLanes, 8U);

// Adds delta where there is one; returns the sum of squares of the result. The order of the sum
// depends on dim only.
float add_and_square(float* hidden, const float* delta, std::uint32_t dim) {
  const Tag d;
  auto squares = hn::Zero(d);
  std::uint32_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    auto value = hn::LoadU(d, hidden + i);
    if (delta != nullptr) value = hn::Add(value, hn::LoadU(d, delta + i));
    hn::StoreU(value, d, hidden + i);
    squares = hn::MulAdd(value, value, squares);
  }
  float sum = hn::GetLane(hn::SumOfLanes(d, squares));
  for (; i < dim; ++i) {
    if (delta != nullptr) hidden[i] += delta[i];
    sum += hidden[i] * hidden[i];
  }
  return sum;
}

void add_norm(const void* raw_args, std::uint32_t row, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const AddNormArgs*>(raw_args);
  const std::size_t first = std::size_t{row} * args.dim;
  float* hidden = args.hidden + first;
  float* output = args.output + first;
  const float* delta = args.delta == nullptr ? nullptr : args.delta + first;
  const float mean = add_and_square(hidden, delta, args.dim) / static_cast<float>(args.dim);
  const float factor = 1.0F / std::sqrt(mean + args.epsilon);
  const Tag d;
  std::uint32_t i = 0;
  for (; i + kLanes <= args.dim; i += kLanes) {
    const auto normed = hn::Mul(hn::LoadU(d, hidden + i), hn::Set(d, factor));
    hn::StoreU(hn::Mul(normed, hn::LoadU(d, args.weight + i)), d, output + i);
  }
  for (; i < args.dim; ++i) output[i] = args.weight[i] * (factor * hidden[i]);
}

// Adjacent pairs (x, y) become (x cos - y sin, y cos + x sin).
void rotate_head(float* head, std::uint32_t head_dim, const float* cosine_sine) {
  const EightTag d;
  for (std::uint32_t i = 0; i < head_dim; i += kEightLanes) {
    const auto pairs = hn::LoadU(d, head + i);
    const auto angles = hn::LoadU(d, cosine_sine + i);
    const auto sine = hn::DupOdd(angles);
    const auto kept = hn::Mul(pairs, hn::DupEven(angles));
    const auto swapped = hn::Shuffle2301(pairs);
    hn::StoreU(hn::OddEven(hn::MulAdd(swapped, sine, kept), hn::NegMulAdd(swapped, sine, kept)), d,
               head + i);
  }
}

void rotary(const void* raw_args, std::uint32_t row, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const RotaryArgs*>(raw_args);
  const float* cosine_sine = args.table + std::size_t{args.position[row]} * args.head_dim;
  const std::size_t first = std::size_t{row} * args.row_stride;
  for (std::uint32_t head = 0; head < args.query_heads; ++head) {
    rotate_head(args.query + first + head * args.head_dim, args.head_dim, cosine_sine);
  }
  for (std::uint32_t head = 0; head < args.kv_heads; ++head) {
    rotate_head(args.key + first + head * args.head_dim, args.head_dim, cosine_sine);
  }
}

hn::Vec<Tag> gated(hn::Vec<Tag> gate, hn::Vec<Tag> up) {
  const Tag d;
  const auto denominator = hn::Add(hn::Set(d, 1.0F), fast_exp(d, hn::Neg(gate)));
  return hn::Mul(hn::Div(gate, denominator), up);
}

void swiglu(const void* raw_args, std::uint32_t row, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const SwiGluArgs*>(raw_args);
  const Tag d;
  float* gate = args.gate + std::size_t{row} * args.row_stride;
  const float* up = args.up + std::size_t{row} * args.row_stride;
  std::uint32_t i = 0;
  for (; i + kLanes <= args.hidden_dim; i += kLanes) {
    hn::StoreU(gated(hn::LoadU(d, gate + i), hn::LoadU(d, up + i)), d, gate + i);
  }
  if (i == args.hidden_dim) return;
  HWY_ALIGN float rest_of_gate[kLanes] = {};
  HWY_ALIGN float rest_of_up[kLanes] = {};
  std::copy(gate + i, gate + args.hidden_dim, rest_of_gate);
  std::copy(up + i, up + args.hidden_dim, rest_of_up);
  hn::Store(gated(hn::Load(d, rest_of_gate), hn::Load(d, rest_of_up)), d, rest_of_gate);
  std::copy(rest_of_gate, rest_of_gate + (args.hidden_dim - i), gate + i);
}

// Each lane keeps its first maximum; the smallest index among the lanes' maxima wins.
TokenId first_maximum(const float* logits, std::uint32_t count) {
  const Tag d;
  const hn::RebindToSigned<Tag> di;
  auto best = hn::Set(d, -std::numeric_limits<float>::infinity());
  auto best_index = hn::Zero(di);
  std::uint32_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const auto value = hn::LoadU(d, logits + i);
    const auto higher = hn::Gt(value, best);
    best = hn::IfThenElse(higher, value, best);
    best_index = hn::IfThenElse(hn::RebindMask(di, higher),
                                hn::Iota(di, static_cast<std::int32_t>(i)), best_index);
  }
  HWY_ALIGN float lane_best[kLanes];
  HWY_ALIGN std::int32_t lane_index[kLanes];
  hn::Store(best, d, lane_best);
  hn::Store(best_index, di, lane_index);
  float maximum = lane_best[0];
  std::int32_t index = lane_index[0];
  for (std::uint32_t lane = 1; lane < kLanes; ++lane) {
    const bool tie = lane_best[lane] == maximum && lane_index[lane] < index;
    if (!tie && !(lane_best[lane] > maximum)) continue;
    maximum = lane_best[lane];
    index = lane_index[lane];
  }
  for (; i < count; ++i) {
    if (!(logits[i] > maximum)) continue;
    maximum = logits[i];
    index = static_cast<std::int32_t>(i);
  }
  return static_cast<TokenId>(index);
}

void argmax(const void* raw_args, std::uint32_t row, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const ArgmaxArgs*>(raw_args);
  const bool padding = args.length != nullptr && args.length[row] == 0;
  args.token[row] =
      padding ? kNoToken
              : first_maximum(args.logits + std::size_t{row} * args.row_stride, args.vocabulary);
}

// The eight elements of a content word.
void expand_word(std::uint64_t word, float step, float* output) {
  const EightTag d;
  const hn::RebindToSigned<EightTag> di;
  const hn::Rebind<std::int8_t, EightTag> d8;
  const auto* bytes = reinterpret_cast<const std::int8_t*>(&word);
  for (std::uint32_t i = 0; i < 8; i += kEightLanes) {
    const auto wide = hn::PromoteTo(di, hn::LoadU(d8, bytes + i));
    hn::StoreU(hn::Mul(hn::ConvertTo(d, wide), hn::Set(d, step)), d, output + i);
  }
}

void fill_part(const ContentArgs& args, std::uint32_t row, ContentPart part, std::uint32_t heads,
               float* output) {
  if (args.length[row] == 0) {
    std::fill_n(output, std::size_t{heads} * args.head_dim, 0.0F);
    return;
  }
  const float step = content_element(1, 0, part);  // elements are multiples of it
  for (std::uint32_t head = 0; head < heads; ++head) {
    for (std::uint32_t word = 0; word < args.head_dim / 8; ++word, output += 8) {
      expand_word(
          content_word(args.content_key[row], part, args.layer, args.position[row], head, word),
          step, output);
    }
  }
}

void content(const void* raw_args, std::uint32_t row, WorkerContext& /*worker*/) {
  const auto& args = *static_cast<const ContentArgs*>(raw_args);
  const std::size_t kv_first = std::size_t{row} * args.kv_stride;
  if (args.query != nullptr) {
    fill_part(args, row, ContentPart::query, args.query_heads,
              args.query + std::size_t{row} * args.query_stride);
  }
  fill_part(args, row, ContentPart::key, args.kv_heads, args.key + kv_first);
  fill_part(args, row, ContentPart::value, args.kv_heads, args.value + kv_first);
}

#if HWY_TARGET == HWY_AVX3
constexpr RowwiseKernels kKernels = {
    {"add_norm/avx512", add_norm}, {"rotary/avx512", rotary},   {"swiglu/avx512", swiglu},
    {"argmax/avx512", argmax},     {"content/avx512", content},
};
#elif HWY_TARGET == HWY_AVX2
constexpr RowwiseKernels kKernels = {
    {"add_norm/avx2", add_norm}, {"rotary/avx2", rotary},   {"swiglu/avx2", swiglu},
    {"argmax/avx2", argmax},     {"content/avx2", content},
};
#else
constexpr RowwiseKernels kKernels = {
    {"add_norm/sse4", add_norm}, {"rotary/sse4", rotary},   {"swiglu/sse4", swiglu},
    {"argmax/sse4", argmax},     {"content/sse4", content},
};
#endif

}  // namespace

const RowwiseKernels& rowwise_kernels() { return kKernels; }

}  // namespace HWY_NAMESPACE
}  // namespace kvrm
HWY_AFTER_NAMESPACE();
