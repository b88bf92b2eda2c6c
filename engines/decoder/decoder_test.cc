// Decode and prefill over contiguous KV: bit-identical however a history is cut into chunks, steps
// and row groups, and whatever memory held before.
#include "engines/decoder/decoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <vector>

#include "engines/decoder/attention_work.h"
#include "engines/decoder/contiguous_kv.h"
#include "engines/decoder/prefill.h"
#include "engines/decoder/test_models.h"
#include "harness/base/units.h"
#include "harness/contract/content.h"
#include "kernels/page/page.h"

namespace kvrm {
namespace {

using testing_models::cpu;
using testing_models::take;
using testing_models::tiny_model;

constexpr std::uint32_t kBlockTokens = 16;
constexpr std::uint64_t kContentKey = 0x5eed;
constexpr std::uint64_t kPrefixKey = 0xbead;

KernelSet kernels() { return take(select_kernels("auto")); }

void poison(std::span<std::byte> memory) {
  const std::uint32_t nan = 0x7fc0'7fc0U;  // NaN as f32, f16 and bf16
  for (std::size_t i = 0; i + sizeof(nan) <= memory.size(); i += sizeof(nan)) {
    std::memcpy(memory.data() + i, &nan, sizeof(nan));
  }
}

std::vector<std::uint32_t> bits(std::span<const float> values) {
  std::vector<std::uint32_t> result(values.size());
  std::memcpy(result.data(), values.data(), values.size_bytes());
  return result;
}

// One history over contiguous KV, prefilled in pieces; row `kHistory` of several, so that its place
// matters.
class History {
 public:
  static constexpr std::uint32_t kHistory = 1;

  explicit History(const DecoderModel& model, Device& device, std::uint32_t prefill_rows = 64)
      : model_(model),
        device_(device),
        kv_(take(
            ContiguousKv::make(model.shape(), kBlockTokens, model.shape().max_len, 3, device))),
        prefill_(take(Prefill::make(model, kernels(), device, prefill_rows))) {
    poison(kv_.memory());
    poison(prefill_.activations());
  }

  static std::vector<TokenId> tokens(const DecoderModel& model, std::uint32_t count) {
    std::vector<TokenId> tokens;
    if (model.shape().kind == ModelKind::attention_only) return tokens;
    for (std::uint32_t i = 0; i < count; ++i) {
      tokens.push_back(content_token(kContentKey, i, model.shape().vocabulary));
    }
    return tokens;
  }

  RowResult prefill(std::uint32_t first, std::uint32_t count, bool last) {
    const std::vector<TokenId> all = tokens(model_, first + count);
    Prefill::Chunk chunk;
    chunk.first = first;
    chunk.count = count;
    chunk.last = last;
    chunk.history = kHistory;
    chunk.content_key = kContentKey;
    chunk.prefix_key = kPrefixKey;
    chunk.prefix_tokens = prefix_tokens;
    if (!all.empty()) chunk.tokens = std::span(all).subspan(first, count);
    chunk.write_slot = [&](std::uint32_t position) { return kv_.write_slot(kHistory, position); };
    return prefill_.run(chunk, kv_.layers());
  }

  // One decode step of the history's position `position` as row `row` of `rows`, the others
  // padding.
  RowResult decode(const Decoder& decoder, const RowArrays& arrays, std::uint32_t position,
                   std::uint32_t row, std::uint32_t rows) {
    clear_rows(arrays, 0, static_cast<std::uint32_t>(round_up(rows, kRowTile)));
    const std::vector<TokenId> all = tokens(model_, position + 1);
    set_row(arrays, row,
            {all.empty() ? kNoToken : all[position], position, position + 1, kHistory,
             kv_.write_slot(kHistory, position), kContentKey, far});
    StepShape shape;
    shape.rows = shape.output_rows = rows;
    shape.chunks = model_.shape().max_chunks();
    std::vector<LayerKv> layers(kv_.layers().begin(), kv_.layers().end());
    for (LayerKv& layer : layers) {
      layer.source.far_bias = far_bias.data();
      layer.source.far_bias_stride = static_cast<std::uint32_t>(far_bias.size() / 3);
    }
    OpList ops;
    decoder.append_step(ops, shape, arrays, layers);
    for (const Op& op : ops.ops()) device_.launch(op);
    return row_result(decoder.output(), row, 0);
  }

  const ContiguousKv& kv() const { return kv_; }
  // Makes positions [0, end) NaN in every layer.
  void poison_until(std::uint32_t end) {
    for (std::uint32_t layer = 0; layer < model_.shape().layers; ++layer) {
      const std::byte* first = kv_.block(layer, kHistory, 0);
      const auto bytes = static_cast<std::size_t>(kv_.block(layer, kHistory, end) - first);
      poison(kv_.memory().subspan(static_cast<std::size_t>(first - kv_.memory().data()), bytes));
    }
  }

  FarSpan far;                  // of the row that decode() runs
  std::vector<float> far_bias;  // [3 histories, stride]

  std::uint32_t prefix_tokens = 0;  // whose content kPrefixKey names

 private:
  const DecoderModel& model_;
  Device& device_;
  ContiguousKv kv_;
  Prefill prefill_;
};

struct Case {
  ModelKind kind;
  DType kv_dtype;
};

class DecoderTest : public testing::TestWithParam<Case> {
 protected:
  std::unique_ptr<DecoderModel> model_ = tiny_model(GetParam().kind, GetParam().kv_dtype);
  std::unique_ptr<Device> device_ = cpu();
};

TEST_P(DecoderTest, PrefillInAnyChunkingEqualsOneChunk) {
  constexpr std::uint32_t kTokens = 133;
  History whole(*model_, *device_, 256);
  const RowResult expected = whole.prefill(0, kTokens, true);
  const auto expected_bits = bits(expected.output);
  EXPECT_TRUE(std::all_of(expected.output.begin(), expected.output.end(),
                          [](float value) { return std::isfinite(value); }));
  for (const std::uint32_t size : {1U, 7U, 16U, 17U, 50U, 132U}) {
    History cut(*model_, *device_, size == 50 ? 23 : 64);  // 50 is cut once more by the rows
    RowResult result;
    for (std::uint32_t first = 0; first < kTokens; first += size) {
      const std::uint32_t count = std::min(size, kTokens - first);
      result = cut.prefill(first, count, first + count == kTokens);
    }
    EXPECT_EQ(bits(result.output), expected_bits) << "chunks of " << size;
    EXPECT_EQ(result.token, expected.token);
    EXPECT_EQ(result.output_digest, expected.output_digest);
  }
}

TEST_P(DecoderTest, DecodeAfterPrefillEqualsPrefillOfTheLongerHistory) {
  constexpr std::uint32_t kPrompt = 29;
  constexpr std::uint32_t kRows = 19;
  History decoded(*model_, *device_);
  decoded.prefill(0, kPrompt, true);
  const Decoder decoder = take(Decoder::make(*model_, kernels(), *device_, kRows, kRows));
  poison(decoder.activations());
  const Buffer row_memory =
      take(device_->allocate(MemoryPurpose::metadata, row_arrays_bytes(kRows)));
  const RowArrays arrays = place_row_arrays(row_memory.data(), kRows);
  for (std::uint32_t position = kPrompt; position < 100; ++position) {
    const std::uint32_t row = position % kRows;
    const RowResult result = decoded.decode(decoder, arrays, position, row, kRows);
    const auto result_bits = bits(result.output);
    History again(*model_, *device_, 128);
    const RowResult expected = again.prefill(0, position + 1, true);
    ASSERT_EQ(result_bits, bits(expected.output)) << "position " << position;
    ASSERT_EQ(result.token, expected.token);
    ASSERT_EQ(result.output_digest, expected.output_digest);
  }
}

TEST_P(DecoderTest, GroupsOfRowsDoNotChangeTheResult) {
  constexpr std::uint32_t kRows = 5;
  History history(*model_, *device_);
  history.prefill(0, 150, false);
  const Buffer row_memory =
      take(device_->allocate(MemoryPurpose::metadata, row_arrays_bytes(kRows)));
  const RowArrays arrays = place_row_arrays(row_memory.data(), kRows);
  std::vector<std::vector<std::uint32_t>> results;
  for (const std::size_t partial_bytes : {kPartialBytesMax, std::size_t{1}}) {
    const Decoder decoder =
        take(Decoder::make(*model_, kernels(), *device_, kRows, kRows, partial_bytes));
    poison(decoder.activations());
    results.push_back(bits(history.decode(decoder, arrays, 150, 3, kRows).output));
  }
  EXPECT_EQ(results[0], results[1]);
}

// The span is the row's own and the biases are its history's, however rows are grouped.
TEST_P(DecoderTest, RowsBringTheirFarSpans) {
  constexpr std::uint32_t kRows = 5;
  History history(*model_, *device_);
  history.prefill(0, 150, false);
  const Buffer row_memory =
      take(device_->allocate(MemoryPurpose::metadata, row_arrays_bytes(kRows)));
  const RowArrays arrays = place_row_arrays(row_memory.data(), kRows);
  const auto decode = [&](const FarSpan& far, std::size_t partial_bytes = kPartialBytesMax) {
    const Decoder decoder =
        take(Decoder::make(*model_, kernels(), *device_, kRows, kRows, partial_bytes));
    poison(decoder.activations());
    history.far = far;
    return bits(history.decode(decoder, arrays, 150, 3, kRows).output);
  };
  const auto plain = decode({});
  const FarSpan entries{.first = 16, .entries = 48, .window = 64};
  constexpr std::uint32_t kStride = 50;
  history.far_bias.assign(3 * kStride, std::numeric_limits<float>::quiet_NaN());
  const auto biases = history.far_bias.begin() + History::kHistory * kStride;
  std::fill_n(biases, entries.entries, 0.0F);
  EXPECT_EQ(decode(entries), plain);
  std::fill_n(biases, 7, 1.5F);
  const auto biased = decode(entries);
  EXPECT_NE(biased, plain);
  EXPECT_EQ(decode(entries, 1), biased);

  const FarSpan window{.first = 0, .entries = 0, .window = 64};
  const auto windowed = decode(window);
  EXPECT_NE(windowed, plain);
  history.poison_until(window.window);
  EXPECT_EQ(decode(window), windowed);
  EXPECT_EQ(decode(window, 1), windowed);
}

TEST_P(DecoderTest, PaddingRowsGiveDefinedNothing) {
  constexpr std::uint32_t kRows = 4;
  History history(*model_, *device_);
  history.prefill(0, 20, false);
  const Decoder decoder = take(Decoder::make(*model_, kernels(), *device_, kRows, kRows));
  poison(decoder.activations());
  const Buffer row_memory =
      take(device_->allocate(MemoryPurpose::metadata, row_arrays_bytes(kRows)));
  history.decode(decoder, place_row_arrays(row_memory.data(), kRows), 20, 2, kRows);
  const RowResult padding = row_result(decoder.output(), 0, 9);
  EXPECT_EQ(padding.slot, 9U);
  EXPECT_EQ(padding.token, kNoToken);
  EXPECT_TRUE(std::all_of(padding.output.begin(), padding.output.end(),
                          [](float value) { return value == 0; }));
}

INSTANTIATE_TEST_SUITE_P(
    Models, DecoderTest,
    testing::Values(Case{ModelKind::decoder, DType::f32}, Case{ModelKind::decoder, DType::f16},
                    Case{ModelKind::decoder, DType::bf16},
                    Case{ModelKind::attention_only, DType::f32},
                    Case{ModelKind::attention_only, DType::bf16}),
    [](const auto& param) {
      return std::string(param.param.kind == ModelKind::decoder ? "decoder_" : "attention_only_") +
             std::string(dtype_name(param.param.kv_dtype));
    });

class ContentTest : public testing::TestWithParam<DType> {};

TEST_P(ContentTest, KeysAndValuesLieWhereTheirPositionSays) {
  const auto model = tiny_model(ModelKind::attention_only, GetParam());
  const auto device = cpu();
  constexpr std::uint32_t kTokens = 50;
  History history(*model, *device);
  history.prefill(0, kTokens, true);
  const ModelShape& shape = model->shape();
  const KvLayout& layout = history.kv().layers()[0].layout;
  std::set<float> seen;
  for (std::uint32_t layer = 0; layer < shape.layers; ++layer) {
    for (std::uint32_t position = 0; position < kTokens; ++position) {
      const std::byte* block = history.kv().block(layer, History::kHistory, position);
      const std::uint32_t token = position % kBlockTokens;
      for (std::uint32_t element = 0; element < shape.kv_heads * shape.head_dim; ++element) {
        const std::uint32_t head = element / shape.head_dim;
        const std::uint32_t dim = element % shape.head_dim;
        const float key = load_key(layout, block, head, token, dim);
        ASSERT_EQ(key, content_value(kContentKey, ContentPart::key, layer, position, head, dim));
        ASSERT_EQ(load_value(layout, block, head, token, dim),
                  content_value(kContentKey, ContentPart::value, layer, position, head, dim));
        seen.insert(key);
      }
    }
  }
  EXPECT_GT(seen.size(), 200U);
}

TEST_P(ContentTest, ASharedPrefixHasItsOwnKeyWhereverAChunkIsCut) {
  const auto model = tiny_model(ModelKind::attention_only, GetParam());
  const auto device = cpu();
  constexpr std::uint32_t kTokens = 40;
  for (const std::uint32_t prefix : {1U, 16U, 23U, 39U}) {
    History history(*model, *device, 7);  // 25 positions are cut further by the rows
    history.prefix_tokens = prefix;
    history.prefill(0, 25, false);
    history.prefill(25, kTokens - 25, true);
    const KvLayout& layout = history.kv().layers()[1].layout;
    for (std::uint32_t position = 0; position < kTokens; ++position) {
      const std::uint64_t key = position < prefix ? kPrefixKey : kContentKey;
      const std::byte* block = history.kv().block(1, History::kHistory, position);
      ASSERT_EQ(load_key(layout, block, 1, position % kBlockTokens, 3),
                content_value(key, ContentPart::key, 1, position, 1, 3))
          << "prefix " << prefix << ", position " << position;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(KvTypes, ContentTest, testing::Values(DType::f32, DType::f16, DType::bf16),
                         [](const auto& param) { return std::string(dtype_name(param.param)); });

TEST(AttentionWork, CountsWholeLaneGroupsAndWhatIsMasked) {
  EXPECT_EQ(attention_work(0, 0, 16).attended, 0U);
  EXPECT_EQ(attention_work(17, 0, 16).attended, 32U);
  EXPECT_EQ(attention_work(17, 0, 16).masked, 15U);
  EXPECT_EQ(attention_work(17, 0, 8).attended, 24U);
  EXPECT_EQ(attention_work(17, 0, 8).masked, 7U);
  EXPECT_EQ(attention_work(17, 100, 16).attended, 112U);
  EXPECT_EQ(attention_work(0, 100, 16).masked, 112U);
  EXPECT_EQ(attention_work(0, 100, 8).masked, 104U);
}

TEST(AttentionWork, LeavesOutTheGapOfAFarHistory) {
  const FarSpan far{.first = 16, .entries = 20, .window = 96};
  EXPECT_EQ(attention_work(100, 0, 16, far).attended, 48U + 16U);
  EXPECT_EQ(attention_work(100, 0, 16, far).masked, 12U + 12U);
  EXPECT_EQ(attention_work(100, 0, 8, far).attended, 40U + 8U);
  EXPECT_EQ(attention_work(100, 0, 8, far).masked, 4U + 4U);
  const FarSpan no_gap{.first = 16, .entries = 48, .window = 64};
  EXPECT_EQ(attention_work(100, 0, 16, no_gap).attended, attention_work(100, 0, 16).attended);
  EXPECT_EQ(attention_work(100, 0, 16, no_gap).masked, attention_work(100, 0, 16).masked);
  const FarSpan no_entries{.first = 0, .entries = 0, .window = 64};
  EXPECT_EQ(attention_work(100, 0, 16, no_entries).attended, 48U);
}

}  // namespace
}  // namespace kvrm
