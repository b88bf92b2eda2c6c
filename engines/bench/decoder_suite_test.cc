// The suite `decoder` at its tiny size, and the products that prefill is measured against.
#include "engines/bench/decoder_suite.h"

#include <gmock/gmock.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "engines/bench/bench_model.h"
#include "engines/bench/matmul_peak.h"
#include "engines/bench/prefill_cost.h"
#include "harness/device/cpu_device.h"
#include "harness/driver/registry.h"

namespace kvrm {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

using Names = std::set<std::string>;

// The figures that a row of each shape has.
const char* figure_of(const std::string& shape) {
  if (shape.starts_with("prefill")) return "share_of_matmul_bf16";
  return shape.starts_with("empty") ? "ratio_to_eager" : "time_to_limit";
}

TEST(DecoderSuite, HasStepsPrefillAndLaunchesWithTheirFigures) {
  const Registry registry = make_registry();
  const auto report = run_suite(decoder_suite(), registry,
                                {.size = BenchSize::tiny, .repetitions = 7, .threads = {2}});
  ASSERT_TRUE(report.has_value()) << report.error().message;
  const auto json = nlohmann::json::parse(report_to_json(*report));
  std::map<std::string, Names> designs;
  for (const auto& row : json["rows"]) {
    EXPECT_EQ(row["suite"], "decoder");
    designs[row["shape"]].insert(row["design"]);
    EXPECT_GT(row.at("ns_per_op").get<double>(), 0);
    EXPECT_GT(row.at(figure_of(row["shape"])).get<double>(), 0);
  }
  const Names step = {"decode_attention", "decode_linear", "decode_step"};
  const Names prefill = {"matmul_f32", "prefill_chunk"};
  const Names launches = {"eager", "replay", "replay_checked"};
  EXPECT_THAT(designs,
              ElementsAre(Pair("batch-3-ctx-100", step), Pair("empty-384-items-1", launches),
                          Pair("empty-384-items-16", launches), Pair("prefill-32-at-0", prefill),
                          Pair("prefill-32-at-224", prefill)));
}

// The sizes of Llama-3-8B: 218 million weights in the matrices of a layer.
TEST(BenchModel, AFullLayerIsThatOfAnEightBillionModel) {
  const ModelShape shape = decoder_size(BenchSize::full).model;
  const std::uint64_t width = shape.query_heads * shape.head_dim;
  const std::uint64_t kv_width = shape.kv_heads * shape.head_dim;
  EXPECT_EQ(shape.model_dim * (2 * width + 2 * kv_width + std::uint64_t{3} * shape.hidden_dim),
            218'103'808U);
}

TEST(BenchModel, WeightBytesAreThoseOfTheMatricesInTheirType) {
  const ModelShape shape = decoder_size(BenchSize::tiny).model;
  LazyModel model(shape);
  const auto loaded = model.get();
  ASSERT_TRUE(loaded.has_value());
  const std::uint64_t layer = 64 * (64 + 2 * 32) + 64 * 64 + 3 * 64 * 96;
  EXPECT_EQ(layer_weights((*loaded)->packed_layers()[0]), layer);
  EXPECT_EQ(weight_bytes(**loaded), 2 * (shape.layers * layer + 64 * 97));
}

// Row by row, as the definition has it.
TEST(PrefillCost, CountsWhatEveryRowMultiplies) {
  const ModelShape shape = decoder_size(BenchSize::tiny).model;
  LazyModel model(shape);
  const auto loaded = model.get();
  ASSERT_TRUE(loaded.has_value());
  const std::uint64_t projection = 64 * (64 + 2 * 32);
  const std::uint64_t rest = 64 * 64 + 3 * 64 * 96;
  std::uint64_t products = 0;
  for (std::uint64_t row = 10; row < 15; ++row) {
    products += 2 * projection + rest;  // of the second layer no more than the projection
    for (std::uint64_t seen = 0; seen <= row; ++seen) products += 2 * 64;  // a logit and a value
  }
  EXPECT_EQ(prefill_operations(**loaded, 10, 5), 2 * products);
}

TEST(MatmulPeak, MultipliesWhatItSays) {
  for (const std::uint32_t workers : {1U, 2U}) {
    auto device = make_cpu_device({.workers = workers});
    ASSERT_TRUE(device.has_value());
    for (const DType dtype : {DType::bf16, DType::f32}) {
      MatmulPeak peak(**device, 96, dtype);
      EXPECT_GT(peak.gflops(), 0);
      EXPECT_EQ(peak.operations(), 2ULL * 96 * 96 * 96 * 2 * workers);
      EXPECT_EQ(peak.error(), 0);
    }
  }
}

}  // namespace
}  // namespace kvrm
