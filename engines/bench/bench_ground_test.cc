// Which points a run measures, on how many threads, and what it says of the others.
#include "engines/bench/bench_ground.h"

#include <gmock/gmock.h>

#include "harness/base/units.h"
#include "harness/driver/registry.h"

namespace kvrm {
namespace {

using ::testing::ElementsAre;

BenchPoint point(const std::string& shape, std::uint64_t memory_bytes) {
  return {shape, memory_bytes, [shape](BenchGround& ground) {
            return std::vector<BenchRow>{
                {.suite = "s", .shape = shape, .threads = ground.device().info().workers}};
          }};
}

std::vector<std::string> measured(const BenchReport& report) {
  std::vector<std::string> names;
  for (const BenchRow& row : report.rows)
    names.push_back(row.shape + "/" + std::to_string(row.threads));
  return names;
}

TEST(BenchGround, PointsAboveEightGibibytesAreSkippedAndNamed) {
  const Registry registry = make_registry();
  const auto report =
      measure_points(registry, {.threads = {1, 2}},
                     {point("small", 1), point("just", 8 * kGiB), point("large", 8 * kGiB + 1)});
  ASSERT_TRUE(report.has_value());
  EXPECT_THAT(measured(*report), ElementsAre("small/1", "just/1", "small/2", "just/2"));
  EXPECT_THAT(report->skipped, ElementsAre("large on 1 threads: 8.00 GiB, at most 8.00 GiB",
                                           "large on 2 threads: 8.00 GiB, at most 8.00 GiB"));
}

TEST(BenchGround, OnlyTheShapesThatAreAskedForAreMeasured) {
  const Registry registry = make_registry();
  const auto report =
      measure_points(registry, {.threads = {1}, .shapes = {"b"}}, {point("a", 1), point("b", 1)});
  ASSERT_TRUE(report.has_value());
  EXPECT_THAT(measured(*report), ElementsAre("b/1"));
}

TEST(BenchGround, AShapeThatThereIsNotIsAnErrorThatListsThem) {
  const Registry registry = make_registry();
  const auto report =
      measure_points(registry, {.shapes = {"a", "huge"}}, {point("a", 1), point("b", 1)});
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code, ExitCode::bad_input);
  EXPECT_EQ(report.error().message, "--shapes: no shape \"huge\"; there are: a b");
}

TEST(BenchGround, RunsTheKernelsThatAreAskedFor) {
  const Registry registry = make_registry();
  const auto ground = BenchGround::make(registry, {.kernels = "reference"}, 1);
  ASSERT_TRUE(ground.has_value());
  EXPECT_EQ(ground->kernels().target, "reference");
  EXPECT_FALSE(BenchGround::make(registry, {.kernels = "nothing"}, 1).has_value());
}

}  // namespace
}  // namespace kvrm
