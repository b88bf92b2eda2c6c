// Loading models: every broken checkpoint is one clear error, generated weights are sane, and what
// the specification asks for is what the model has.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <set>
#include <vector>

#include "engines/decoder/contiguous_kv.h"
#include "engines/decoder/model_shape.h"
#include "engines/decoder/prefill.h"
#include "engines/decoder/test_models.h"
#include "harness/contract/content.h"

namespace kvrm {
namespace {

using namespace testing_models;

struct FileHeader {
  std::int32_t dim = 16;
  std::int32_t hidden_dim = 24;
  std::int32_t layers = 2;
  std::int32_t heads = 2;
  std::int32_t kv_heads = 1;
  std::int32_t vocabulary = 40;
  std::int32_t sequence = 32;
};

class CheckpointFile : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    path_ = testing::TempDir() + "kvrm_" + test->name() + ".bin";
    std::filesystem::remove_all(path_);
  }
  void TearDown() override { std::filesystem::remove_all(path_); }

  // Weight i of the file is i / 1000; the rotary tables are NaN, since nobody may read them.
  static std::vector<float> floats_of(const FileHeader& header) {
    const bool separate = header.vocabulary < 0;
    const auto dim = static_cast<std::size_t>(header.dim);
    const std::size_t embedding = static_cast<std::size_t>(std::abs(header.vocabulary)) * dim;
    const auto kv_dim = static_cast<std::size_t>(header.dim / header.heads * header.kv_heads);
    const auto hidden_dim = static_cast<std::size_t>(header.hidden_dim);
    const std::size_t layer = 2 * dim + 2 * dim * dim + 2 * dim * kv_dim + 3 * dim * hidden_dim;
    std::vector<float> floats;
    const std::size_t weights = embedding + static_cast<std::size_t>(header.layers) * layer +
                                static_cast<std::size_t>(header.dim);
    while (floats.size() < weights) floats.push_back(static_cast<float>(floats.size()) / 1000);
    floats.resize(weights + static_cast<std::size_t>(header.sequence * header.dim / header.heads),
                  NAN);
    for (std::size_t i = 0; separate && i < embedding; ++i) {
      floats.push_back(-static_cast<float>(i));
    }
    return floats;
  }

  std::size_t write(const FileHeader& header, std::size_t cut = 0) const {
    std::ofstream out(path_, std::ios::binary);
    out.write(reinterpret_cast<const char*>(&header), sizeof(header));
    const std::vector<float> floats = floats_of(header);
    const std::size_t bytes = floats.size() * sizeof(float) - cut;
    out.write(reinterpret_cast<const char*>(floats.data()), static_cast<std::streamsize>(bytes));
    return sizeof(header) + bytes;
  }
  void write_text(const std::string& text) const { std::ofstream(path_) << text; }

  std::string error(const std::function<void(ModelSpec&)>& change = {}) const {
    ModelSpec spec;
    spec.checkpoint = path_;
    if (change) change(spec);
    const auto model = DecoderModel::load(spec);
    if (model) return "loaded";
    EXPECT_EQ(model.error().code, ExitCode::bad_input);
    return model.error().message;
  }
  std::string header_error(const std::function<void(FileHeader&)>& change) const {
    FileHeader header;
    write(header);
    change(header);
    std::fstream out(path_, std::ios::binary | std::ios::in | std::ios::out);
    out.write(reinterpret_cast<const char*>(&header), sizeof(header));
    out.close();
    return error();
  }

  std::string path_;
};

TEST_F(CheckpointFile, EveryTensorLandsWhereItsNameSays) {
  FileHeader header;
  header.vocabulary = -40;
  write(header);
  ModelSpec spec;
  spec.checkpoint = path_;
  const auto model = take(DecoderModel::load(spec));
  const std::vector<float> file = floats_of(header);
  const ModelWeights& weights = model->weights();
  std::size_t next = 0;
  const auto expect_next = [&](std::span<const float> tensor) {
    for (const float value : tensor) ASSERT_EQ(value, file[next++]);
  };
  const auto expect_layers = [&](std::span<const float> LayerWeights::*tensor) {
    for (const LayerWeights& layer : weights.layers) expect_next(layer.*tensor);
  };
  expect_next(weights.embedding);
  expect_layers(&LayerWeights::attention_norm);
  expect_layers(&LayerWeights::query);
  expect_layers(&LayerWeights::key);
  expect_layers(&LayerWeights::value);
  expect_layers(&LayerWeights::output);
  expect_layers(&LayerWeights::ffn_norm);
  expect_layers(&LayerWeights::gate);
  expect_layers(&LayerWeights::down);
  expect_layers(&LayerWeights::up);
  expect_next(weights.final_norm);
  next += 32 * 8;  // the rotary tables
  expect_next(weights.classifier);
  EXPECT_EQ(next, file.size());
  EXPECT_EQ(weights.classifier.size(), 40U * 16U);
}

TEST_F(CheckpointFile, WithoutItsOwnClassifierTheEmbeddingServes) {
  write({});
  ModelSpec spec;
  spec.checkpoint = path_;
  const auto model = take(DecoderModel::load(spec));
  EXPECT_EQ(model->weights().classifier.data(), model->weights().embedding.data());
  EXPECT_EQ(model->shape().head_dim, 8U);
  EXPECT_EQ(model->shape().max_len, 32U);
}

TEST_F(CheckpointFile, MissingEmptyAndForeignFilesAreNamed) {
  EXPECT_EQ(error(), path_ + ": no such checkpoint");
  std::filesystem::create_directory(path_);
  EXPECT_EQ(error(), path_ + ": is not a file");
  std::filesystem::remove(path_);
  write_text("");
  EXPECT_EQ(error(), path_ + ": is 0 bytes, a checkpoint's header alone is 28");
  write_text("this is not a checkpoint but a line of text");
  EXPECT_NE(error().find(path_ + ": header: "), std::string::npos) << error();
}

TEST_F(CheckpointFile, ASizeThatIsNotWhatTheHeaderPromisesIsNamed) {
  const std::size_t whole = write({});
  EXPECT_EQ(error(), "loaded");
  const std::size_t cut = write({}, 1);
  EXPECT_EQ(error(), path_ + ": is " + std::to_string(cut) + " bytes, header promises " +
                         std::to_string(whole));
  std::ofstream(path_, std::ios::app) << "1234567";
  EXPECT_EQ(error(), path_ + ": is " + std::to_string(cut + 7) + " bytes, header promises " +
                         std::to_string(whole));
}

TEST_F(CheckpointFile, NonsenseHeadersAreNamed) {
  EXPECT_EQ(header_error([](FileHeader& header) { header.dim = -16; }),
            path_ + ": header: dim is -16, must be positive");
  EXPECT_EQ(header_error([](FileHeader& header) { header.vocabulary = 0; }),
            path_ + ": header: vocab_size is 0, must be positive");
  EXPECT_EQ(header_error([](FileHeader& header) { header.vocabulary = INT32_MIN; }),
            path_ + ": header: vocab_size is -2147483648, must be positive");
  EXPECT_EQ(header_error([](FileHeader& header) { header.heads = 3; }),
            path_ + ": header: dim 16 does not divide by n_heads 3");
  EXPECT_EQ(header_error([](FileHeader& header) { header.heads = 4; }),
            path_ + ": header: model.shape.head_dim: 4 is not a multiple of 8");
  EXPECT_EQ(header_error([](FileHeader& header) {
              header.dim = 24;
              header.heads = 3;
              header.kv_heads = 2;
            }),
            path_ + ": header: model.shape.query_heads: 3 is not a multiple of kv_heads, 2");
  EXPECT_EQ(header_error([](FileHeader& header) { header.hidden_dim = INT32_MAX; }),
            path_ + ": header: model.shape.hidden_dim: 2147483647 is not between 1 and 15360");
  EXPECT_NE(header_error([](FileHeader& header) { header.layers = 4096; }).find("header promises"),
            std::string::npos);
}

TEST_F(CheckpointFile, TheSpecificationChoosesTypesAndAShorterHistoryOnly) {
  write({});
  EXPECT_EQ(error([](ModelSpec& spec) { spec.shape.max_len = 33; }),
            path_ + ": model.shape.max_len: 33 is more than the checkpoint's 32");
  EXPECT_EQ(error([](ModelSpec& spec) { spec.shape.kind = ModelKind::attention_only; }),
            "model.checkpoint: an attention_only model has no weights");
  ModelSpec spec;
  spec.checkpoint = path_;
  spec.shape.max_len = 20;
  spec.shape.layers = 9;
  spec.shape.kv_dtype = DType::f16;
  spec.shape.weight_dtype = DType::bf16;
  spec.shape.tile_tokens = 32;
  const auto model = take(DecoderModel::load(spec));
  EXPECT_EQ(model->shape().max_len, 20U);
  EXPECT_EQ(model->shape().layers, 2U);
  EXPECT_EQ(model->shape().kv_dtype, DType::f16);
  EXPECT_EQ(model->shape().tile_tokens, 32U);
  for (const float weight : model->weights().layers[1].down) {
    ASSERT_EQ(weight, round_to(DType::bf16, weight));
  }
}

TEST(ModelShape, EachFieldThatCannotBeIsNamed) {
  const auto error = [](const std::function<void(ModelShape&)>& change) {
    ModelShape shape = tiny_spec(ModelKind::decoder).shape;
    change(shape);
    const Status status = check_model_shape(shape);
    return status ? std::string("fine") : status.error().message;
  };
  EXPECT_EQ(error([](ModelShape&) {}), "fine");
  EXPECT_EQ(error([](ModelShape& shape) { shape.layers = 0; }),
            "model.shape.layers: 0 is not between 1 and 4096");
  EXPECT_EQ(error([](ModelShape& shape) { shape.max_len = 0; }),
            "model.shape.max_len: 0 is not between 1 and 67108864");
  EXPECT_EQ(error([](ModelShape& shape) { shape.head_dim = 12; }),
            "model.shape.head_dim: 12 is not a multiple of 8");
  EXPECT_EQ(error([](ModelShape& shape) { shape.query_heads = 5; }),
            "model.shape.query_heads: 5 is not a multiple of kv_heads, 2");
  EXPECT_EQ(error([](ModelShape& shape) { shape.tile_tokens = 24; }),
            "model.shape.tile_tokens: 24 is not a multiple of 16");
  EXPECT_EQ(error([](ModelShape& shape) { shape.tile_tokens = 80; }),
            "model.shape.tile_tokens: 80 is not between 1 and 64");
  EXPECT_EQ(error([](ModelShape& shape) { shape.weight_dtype = DType::f16; }),
            "model.weight_dtype: f16 weights are not supported, only f32 and bf16");
  EXPECT_EQ(error([](ModelShape& shape) {
              shape.query_heads = 128;
              shape.head_dim = 128;
            }),
            "model.shape.query_heads: 128 heads of 128 are 16384 wide, at most 15360");
  EXPECT_EQ(error([](ModelShape& shape) { shape.rope_theta = 0; }),
            "model.shape.rope_theta: is not positive");
}

TEST(ModelDigest, ChangesWithSeedShapeAndNumberTypes) {
  std::set<std::uint64_t> digests;
  const auto digest = [](const std::function<void(ModelSpec&)>& change) {
    ModelSpec spec = tiny_spec(ModelKind::decoder);
    change(spec);
    return take(DecoderModel::load(spec))->digest();
  };
  digests.insert(digest([](ModelSpec&) {}));
  digests.insert(digest([](ModelSpec& spec) { spec.seed = 8; }));
  digests.insert(digest([](ModelSpec& spec) { spec.shape.kv_dtype = DType::f16; }));
  digests.insert(digest([](ModelSpec& spec) { spec.shape.weight_dtype = DType::bf16; }));
  digests.insert(digest([](ModelSpec& spec) { spec.shape.split_tiles = 3; }));
  digests.insert(digest([](ModelSpec& spec) { spec.shape.max_len = 199; }));
  EXPECT_EQ(digests.size(), 6U);
  EXPECT_TRUE(digests.contains(digest([](ModelSpec&) {})));
}

TEST(GeneratedModel, TooManyWeightsAreAnErrorBeforeTheyAreMade) {
  ModelSpec spec = tiny_spec(ModelKind::decoder);
  spec.shape.layers = 4000;
  spec.shape.model_dim = spec.shape.hidden_dim = 15'360;
  const auto model = DecoderModel::load(spec);
  ASSERT_FALSE(model.has_value());
  EXPECT_EQ(model.error().code, ExitCode::incomplete);
  EXPECT_NE(model.error().message.find("out of memory: the model's weights need"),
            std::string::npos);
}

// Greedy outputs of many short prompts: finite logits of unit size, and different tokens.
TEST(GeneratedModel, ActivationsAreSaneAndTokensDiffer) {
  for (const std::uint32_t layers : {1U, 24U}) {
    ModelSpec spec = tiny_spec(ModelKind::decoder);
    spec.shape.layers = layers;
    const auto model = take(DecoderModel::load(spec));
    const auto device = cpu(1);
    const KernelSet kernels = take(select_kernels("auto"));
    const auto kv = take(ContiguousKv::make(model->shape(), 16, 32, 1, *device));
    auto prefill = take(Prefill::make(*model, kernels, *device, 16));
    std::set<TokenId> tokens;
    double squares = 0;
    constexpr std::uint32_t kPrompts = 40;
    for (std::uint32_t prompt = 0; prompt < kPrompts; ++prompt) {
      std::vector<TokenId> history;
      for (std::uint32_t i = 0; i < 8; ++i) history.push_back(content_token(prompt, i, 97));
      Prefill::Chunk chunk;
      chunk.count = 8;
      chunk.last = true;
      chunk.tokens = history;
      chunk.write_slot = [&](std::uint32_t position) { return kv.write_slot(0, position); };
      const RowResult result = prefill.run(chunk, kv.layers());
      for (const float logit : result.output) squares += double{logit} * logit;
      tokens.insert(result.token);
    }
    const double deviation = std::sqrt(squares / (kPrompts * 97.0));
    EXPECT_GT(deviation, 0.3) << layers << " layers";
    EXPECT_LT(deviation, 3.0) << layers << " layers";
    EXPECT_GT(tokens.size(), kPrompts / 4) << layers << " layers";
  }
}

}  // namespace
}  // namespace kvrm
