// Engines that follow a far-history rule: each is held against its own reference, agrees to the bit
// with those of the same rule, and stays out of the exact engines' digest.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "harness/driver/exit_code.h"
#include "harness/driver/experiment_fixture.h"
#include "harness/driver/judgement.h"
#include "harness/driver/solo_run.h"
#include "harness/driver/verify_experiment.h"

namespace kvrm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using States = std::map<std::string, RunStatus>;

constexpr FarHistoryRule kRule = {
    .enabled = true, .block_tokens = 2, .window_tokens = 4, .sink_tokens = 0, .summaries = 3};
// Of an oracle that has looked at nine outputs.
constexpr ShadowError kShadow = {.outputs = 9,
                                 .error_max = 0.5,
                                 .error_sum = 1.5,
                                 .bound_max = 2,
                                 .bound_sum = 6,
                                 .error_over_bound_max = 0.75};

class FarHistoryRunTest : public RunExperimentTest {
 protected:
  FarHistoryRunTest() { shadow_ = kShadow; }

  void add_far(const std::string& label, const FarHistoryRule& rule = kRule,
               std::function<void(FakeScript&)> change = {}) {
    add_engine(label, [rule, change](FakeScript& script) {
      script.info.exact = false;
      script.info.far_history = rule;
      script.fault = follow_rule(rule);
      if (change) change(script);
    });
  }
  VerifyReport verify() {
    Result<VerifyReport> report = verify_experiment(experiment_, registry_, options_);
    EXPECT_TRUE(report.has_value());
    return std::move(*report);
  }
};

TEST_F(FarHistoryRunTest, IsApproximateWithItsErrorAndOutsideTheExactDigest) {
  add_engine("exact");
  add_far("far");
  add_engine("other");
  const ExperimentResult result = run();
  EXPECT_EQ(states(result), (States{{"exact", RunStatus::verified},
                                    {"far", RunStatus::approximate},
                                    {"other", RunStatus::verified}}));
  const EngineResult& far = result.engines[1];
  EXPECT_EQ(far.status_reason, "");
  EXPECT_GE(far.oracle_samples, 4U * 3U);
  EXPECT_EQ(far.oracle_error_max, 0);
  EXPECT_EQ(far.shadow.outputs, 9U);
  EXPECT_EQ(far.shadow.error_over_bound_max, 0.75);
  EXPECT_EQ(result.engines[0].shadow.outputs, 0U);
  // The fake's outputs depend on the rule, so this is not for lack of a difference.
  EXPECT_NE(far.output_digest, result.engines[0].output_digest);
  EXPECT_NE(result.digests.front().outputs, 0U);
  EXPECT_EQ(result.digests.front().outputs, result.engines[0].output_digest);
  EXPECT_EQ(exit_code_of(result), ExitCode::ok);
}

TEST_F(FarHistoryRunTest, EachRuleIsItsOwnFamily) {
  FarHistoryRule wider = kRule;
  wider.window_tokens = 6;
  add_far("narrow");
  add_far("wide", wider);
  add_far("narrow_too");
  const ExperimentResult result = run();
  for (const EngineResult& engine : result.engines) {
    EXPECT_EQ(engine.status, RunStatus::approximate) << engine.status_reason;
  }
  EXPECT_EQ(result.engines[0].output_digest, result.engines[2].output_digest);
  EXPECT_NE(result.engines[0].output_digest, result.engines[1].output_digest);
  EXPECT_EQ(result.digests.front().outputs, 0U);  // there is no exact engine
}

TEST_F(FarHistoryRunTest, FamiliesAreTheExactOnesAndOneForEachRule) {
  EngineInfo exact;
  EngineInfo far;
  far.exact = false;
  far.far_history = kRule;
  EngineInfo wide = far;
  wide.far_history.window_tokens = 9;
  EngineInfo unchecked;
  unchecked.checked = false;
  EngineInfo no_reference;
  no_reference.exact = false;
  const auto families = families_of({far, exact, wide, unchecked, no_reference, far});
  ASSERT_EQ(families.size(), 3U);
  EXPECT_FALSE(families[0].rule.enabled);
  EXPECT_THAT(families[0].members, ElementsAre(false, true, false, false, false, false));
  EXPECT_EQ(families[1].rule, kRule);
  EXPECT_THAT(families[1].members, ElementsAre(true, false, false, false, false, true));
  EXPECT_EQ(families[2].rule, wide.far_history);
}

// The engine says one rule and follows another: its window is a position short.
TEST_F(FarHistoryRunTest, AnEngineThatBreaksItsRuleIsIncorrect) {
  for (const ModelKind kind : {ModelKind::decoder, ModelKind::attention_only}) {
    point().model.shape = fake_shape(kind);
    point().engines.clear();
    add_engine("exact");
    add_far("good");
    add_far("bad", kRule, [](FakeScript& script) {
      FarHistoryRule shorter = kRule;
      shorter.window_tokens -= 1;
      script.fault = follow_rule(shorter);
    });
    const ExperimentResult result = run();
    EXPECT_EQ(states(result), (States{{"exact", RunStatus::verified},
                                      {"good", RunStatus::approximate},
                                      {"bad", RunStatus::incorrect}}));
    EXPECT_EQ(exit_code_of(result), ExitCode::incorrect);
    const VerifyReport report = verify();
    EXPECT_EQ(report.engines[1].status, RunStatus::approximate);
    EXPECT_EQ(report.engines[2].status, RunStatus::incorrect);
    EXPECT_THAT(report.engines[2].reason, HasSubstr("oracle"));
  }
}

// Exact outputs are wrong for an engine that is to follow a rule, and the other way round.
TEST_F(FarHistoryRunTest, ARuleThatIsNotFollowedAtAllIsIncorrect) {
  add_far("idle", kRule, [](FakeScript& script) { script.fault = {}; });
  add_engine("secret", [](FakeScript& script) { script.fault = follow_rule(kRule); });
  EXPECT_EQ(states(run()),
            (States{{"idle", RunStatus::incorrect}, {"secret", RunStatus::incorrect}}));
}

TEST_F(FarHistoryRunTest, OneWrongTokenInOneRequestIsFound) {
  add_far("good");
  add_far("bad", kRule, [](FakeScript& script) {
    script.fault = [follow = script.fault](const FakeRow& row) {
      follow(row);
      if (row.request == 17 && row.index == 1) row.token = (row.token + 1) % 64;
    };
  });
  const ExperimentResult result = run();
  EXPECT_EQ(states(result),
            (States{{"good", RunStatus::approximate}, {"bad", RunStatus::incorrect}}));
  EXPECT_THAT(result.engines[1].status_reason, HasSubstr("request 17"));
}

TEST_F(FarHistoryRunTest, EnginesOfOneRuleAgreeToTheBit) {
  use_attention_only();
  add_far("a");
  add_far("b", kRule, [](FakeScript& script) {
    script.fault = [follow = script.fault](const FakeRow& row) {  // within the tolerance
      follow(row);
      row.output[0] = std::nextafter(row.output[0], 2.0F);
      row.digest = hash_bytes(std::as_bytes(std::span(row.output)));
    };
  });
  add_engine("exact");
  const States expected = {
      {"a", RunStatus::incorrect}, {"b", RunStatus::incorrect}, {"exact", RunStatus::verified}};
  EXPECT_EQ(states(run()), expected);
  const VerifyReport report = verify();
  for (const EngineVerification& engine : report.engines) {
    EXPECT_EQ(engine.status, expected.at(engine.label)) << engine.label;
  }
}

TEST_F(FarHistoryRunTest, AnErrorBeyondItsBoundIsNoMeasurement) {
  add_far("far");
  shadow_.error_over_bound_max = 1.0 + 1e-9;
  const ExperimentResult result = run();
  EXPECT_EQ(states(result).at("far"), RunStatus::invalid);
  EXPECT_THAT(result.engines[0].status_reason, HasSubstr("bound"));
  EXPECT_EQ(verify().engines[0].status, RunStatus::invalid);
  shadow_.error_over_bound_max = 1;
  EXPECT_EQ(states(run()).at("far"), RunStatus::approximate);
}

TEST_F(FarHistoryRunTest, VerificationChecksEveryRequestAndKeepsTheShadow) {
  add_engine("exact");
  add_far("far");
  const VerifyReport report = verify();
  EXPECT_EQ(report.engines[0].status, RunStatus::verified);
  EXPECT_FALSE(report.engines[0].follows_rule);
  EXPECT_EQ(report.engines[0].shadow.outputs, 0U);
  EXPECT_EQ(report.engines[1].status, RunStatus::approximate) << report.engines[1].reason;
  EXPECT_TRUE(report.engines[1].follows_rule);
  EXPECT_EQ(report.engines[1].requests_checked, 40U);
  EXPECT_EQ(report.engines[1].shadow.error_sum, 1.5);
  EXPECT_EQ(exit_code_of(report), ExitCode::ok);
}

TEST_F(FarHistoryRunTest, ApproximateWithoutARuleHasNoReference) {
  add_engine("vague", [](FakeScript& script) { script.info.exact = false; });
  EXPECT_EQ(states(run()).at("vague"), RunStatus::invalid);
  EXPECT_EQ(verify().engines[0].status, RunStatus::unchecked);
}

// Only decoders with f16 keys and values are given more room, and only under a rule.
TEST_F(FarHistoryRunTest, ToleranceIsWiderWhereMeansAreRoundedToF16) {
  for (const ModelKind kind : {ModelKind::decoder, ModelKind::attention_only}) {
    for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
      ModelShape shape = fake_shape(kind);
      shape.kv_dtype = dtype;
      const bool wider = kind == ModelKind::decoder && dtype == DType::f16;
      EXPECT_EQ(output_tolerance(shape, kRule) > output_tolerance(shape), wider);
    }
  }
  point().model.shape.kv_dtype = DType::f16;
  const auto nudged = [](FakeScript& script) {
    script.fault = [follow = script.fault](const FakeRow& row) {
      if (follow) follow(row);
      row.output[(row.token + 1) % 64] -= 2e-3F;
    };
  };
  add_engine("exact", nudged);
  add_far("far", kRule, nudged);
  EXPECT_EQ(states(run()),
            (States{{"exact", RunStatus::incorrect}, {"far", RunStatus::approximate}}));
}

// The oracle is told which content a request's prefix has.
TEST_F(FarHistoryRunTest, PrefixesReachTheOracle) {
  const ModelShape shape = fake_shape(ModelKind::attention_only);
  Request request = fake_request(0, 0, 9, 3);
  request.prefix_key = 5;
  request.prefix_tokens = 7;
  const auto check = [&](const Request& told) {
    FakeEngine engine(FakeScript{.shape = shape});
    OracleChecker oracle(std::make_unique<FakeEngine>(FakeScript{.shape = shape}), shape);
    return oracle.check_all(request, run_alone(engine, told, shape, 64).captured).right;
  };
  EXPECT_TRUE(check(request));
  Request other = request;
  other.prefix_tokens = 6;
  EXPECT_FALSE(check(other));
}

}  // namespace
}  // namespace kvrm
