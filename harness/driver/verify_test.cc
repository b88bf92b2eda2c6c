// The check against the oracle: errors, near ties and going on after them.
#include "harness/driver/verify.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "harness/driver/fake_engine.h"
#include "harness/driver/solo_run.h"

namespace kvrm {
namespace {

TEST(RelativeError, IsTheLargestDifferenceOverTheLargestValue) {
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  const std::vector<float> expected = {1, -4, 2};
  EXPECT_EQ(relative_error(std::vector<float>{1, -4, 2}, expected), 0);
  EXPECT_EQ(relative_error(std::vector<float>{2, -4, 2}, expected), 0.25);
  EXPECT_EQ(relative_error(std::vector<float>{1, -4}, expected), kInfinite);
  EXPECT_EQ(relative_error(std::vector<float>{1, NAN, 2}, expected), kInfinite);
  EXPECT_EQ(relative_error({}, {}), kInfinite);
  EXPECT_EQ(relative_error(std::vector<float>{0.5F}, std::vector<float>{0}), kInfinite);
}

// An engine that takes the runner-up for its token where it lies within `reach` of the best.
FakeScript runner_up(double reach) {
  FakeScript script;
  script.fault = [reach](const FakeRow& row) {
    const TokenId best = row.token;
    for (TokenId token = 0; token < row.output.size(); ++token) {
      if (token != best && row.output[best] - row.output[token] <= reach * row.output[best]) {
        row.token = row.digest = token;
      }
    }
  };
  return script;
}

OracleFinding check_against_plain_fake(FakeScript script) {
  const ModelShape shape = script.shape;
  OracleChecker oracle(std::make_unique<FakeEngine>(FakeScript{.shape = shape}), shape);
  FakeEngine engine(std::move(script));
  const Request request = fake_request(0, 0, 5, 200);
  return oracle.check_all(request, run_alone(engine, request, shape, 64).captured);
}

TEST(OracleChecker, AcceptsANearTieAndGoesOnFromTheEnginesTokens) {
  // The best two of 64 logits lie within 1e-3 in about 6% of positions.
  const OracleFinding near = check_against_plain_fake(runner_up(0.9 * kDecoderTolerance));
  EXPECT_TRUE(near.right) << near.reason;
  EXPECT_EQ(near.tokens, 200U);
  EXPECT_GT(near.near_ties, 0U);
  EXPECT_LE(near.error, kDecoderTolerance);

  const OracleFinding far = check_against_plain_fake(runner_up(20 * kDecoderTolerance));
  EXPECT_FALSE(far.right);
  EXPECT_LT(far.tokens, 200U);
}

TEST(OracleChecker, ChecksTheLastOutputEvenWhereAllTokensAgree) {
  FakeScript script;
  script.fault = [](const FakeRow& row) {
    if (row.index == 199) row.output[(row.token + 1) % 64] -= 0.01F;
  };
  const OracleFinding finding = check_against_plain_fake(std::move(script));
  EXPECT_FALSE(finding.right);
  EXPECT_EQ(finding.tokens, 200U);
  EXPECT_EQ(finding.near_ties, 0U);
}

TEST(OracleChecker, JudgesEachOutputOfARequestByItself) {
  const FakeScript script;
  OracleChecker oracle(std::make_unique<FakeEngine>(FakeScript{.shape = script.shape}),
                       script.shape);
  FakeEngine engine(script);
  const Request request = fake_request(0, 0, 5, 20);
  const OutputSample right = run_alone(engine, request, script.shape, 64).captured;
  OutputSample wrong = right;
  wrong.output[3] += 1;
  EXPECT_TRUE(oracle.check_all(request, right).right);
  EXPECT_FALSE(oracle.check_all(request, wrong).right);
  EXPECT_TRUE(oracle.check_all(request, right).right);
}

}  // namespace
}  // namespace kvrm
