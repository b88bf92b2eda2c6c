// A real model: the tokens of llama2.c's own run, and its tokenizer's, from the shared test data.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

#include "engines/decoder/contiguous_kv.h"
#include "engines/decoder/prefill.h"
#include "engines/decoder/test_models.h"
#include "engines/decoder/tokenizer.h"

namespace kvrm {
namespace {

using testing_models::cpu;
using testing_models::data_directory;
using testing_models::take;

struct GoldenRow {
  std::string prompt;
  std::string text;
  std::vector<TokenId> prompt_tokens;
  std::vector<TokenId> output_tokens;
};

std::vector<GoldenRow> read_golden(const std::filesystem::path& file) {
  std::vector<GoldenRow> rows;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const auto row = nlohmann::json::parse(line);
    rows.push_back({row["prompt"], row["text"], row["prompt_tokens"], row["output_tokens"]});
  }
  return rows;
}

class Golden : public testing::Test {
 protected:
  void SetUp() override {
    data_ = data_directory(KVRM_SOURCE_DIR);
    if (!std::filesystem::exists(data_ / "golden/stories260K.jsonl")) {
      GTEST_SKIP() << "NO TEST DATA at " << data_ << ": nothing of the real model is checked";
    }
    rows_ = read_golden(data_ / "golden/stories260K.jsonl");
    ASSERT_EQ(rows_.size(), 20U);
  }

  std::filesystem::path data_;
  std::vector<GoldenRow> rows_;
};

TEST_F(Golden, TokenizerEncodesAndDecodesAsTheOriginal) {
  const TextCodec codec = take(load_tokenizer(data_ / "model/tok512.bin", 512));
  for (const GoldenRow& row : rows_) {
    EXPECT_EQ(codec.encode(row.prompt), row.prompt_tokens) << row.prompt;
    std::vector<TokenId> all = row.prompt_tokens;
    all.insert(all.end(), row.output_tokens.begin(), row.output_tokens.end());
    std::string text;
    for (std::size_t i = 1; i < all.size() && all[i] != kBeginOfSequence; ++i) {
      text += codec.decode(all[i - 1], all[i]);
    }
    EXPECT_EQ(text, row.text);
  }
}

// Every position's argmax in one prefill: the golden sequence predicts itself, token by token.
TEST_F(Golden, PrefillOfTheWholeStoryPredictsEachToken) {
  ModelSpec spec;
  spec.checkpoint = data_ / "model/stories260K.bin";
  const auto model = take(DecoderModel::load(spec));
  EXPECT_EQ(model->shape().max_len, 512U);
  const auto device = cpu();
  const KernelSet kernels = take(select_kernels("auto"));
  const ContiguousKv kv = take(ContiguousKv::make(model->shape(), 16, 512, 1, *device));
  Prefill prefill = take(Prefill::make(*model, kernels, *device, 64));
  const GoldenRow& row = rows_[4];
  std::vector<TokenId> history = row.prompt_tokens;
  std::uint32_t done = 0;
  for (const TokenId expected : row.output_tokens) {
    Prefill::Chunk chunk;
    chunk.first = done;
    chunk.count = static_cast<std::uint32_t>(history.size()) - done;
    chunk.last = true;
    chunk.tokens = std::span(history).subspan(done);
    chunk.write_slot = [&](std::uint32_t position) { return kv.write_slot(0, position); };
    ASSERT_EQ(prefill.run(chunk, kv.layers()).token, expected) << "position " << history.size();
    done = static_cast<std::uint32_t>(history.size());
    history.push_back(expected);
  }
}

}  // namespace
}  // namespace kvrm
