// Whole experiments over fake engines: rotation, fairness, verification of planted faults, states
// and exit codes. The oracle here is a fault-free fake; the real one is tested beside itself.
#include "harness/driver/run_experiment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <set>

#include "harness/driver/exit_code.h"
#include "harness/driver/experiment_fixture.h"
#include "harness/driver/point_context.h"
#include "harness/driver/verify_experiment.h"

namespace kvrm {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST_F(RunExperimentTest, EnginesThatAgreeAreVerifiedInRotatedTurns) {
  for (const char* label : {"a", "b", "c"}) add_engine(label);
  const ExperimentResult result = run();
  EXPECT_THAT(made_, testing::ElementsAre("a", "b", "c",                 // the budget check
                                          "a", "b", "c", "b", "c", "a",  //
                                          "c", "a", "b", "a", "b", "c"));
  ASSERT_EQ(result.engines.size(), 3U);
  for (const EngineResult& engine : result.engines) {
    EXPECT_EQ(engine.status, RunStatus::verified) << engine.status_reason;
    EXPECT_EQ(engine.repeats, 4U);
    EXPECT_GE(engine.oracle_samples, 4U * 3U);
    EXPECT_EQ(engine.output_digest, result.digests.front().outputs);
  }
  EXPECT_NE(result.digests.front().outputs, 0U);
  EXPECT_NE(result.digests.front().workload, 0U);
  ASSERT_EQ(result.logs.size(), 3U);
  EXPECT_EQ(result.logs[2][3].engine_label, "c");
  EXPECT_EQ(result.logs[2][3].repeat, 3U);
  EXPECT_EQ(exit_code_of(result), ExitCode::ok);
}

TEST_F(RunExperimentTest, OneWrongTokenInOneRequestMakesAnEngineIncorrect) {
  add_engine("good");
  add_faulty("bad", [](const FakeRow& row) {
    if (row.request == 17 && row.index == 1) row.token = (row.token + 1) % 64;
  });
  add_engine("other");
  const ExperimentResult result = run();
  EXPECT_EQ(states(result), (std::map<std::string, RunStatus>{{"good", RunStatus::verified},
                                                              {"bad", RunStatus::incorrect},
                                                              {"other", RunStatus::verified}}));
  EXPECT_THAT(result.engines[1].status_reason, HasSubstr("request 17"));
  EXPECT_EQ(result.digests.front().outputs, 0U);
  EXPECT_EQ(exit_code_of(result), ExitCode::incorrect);
}

TEST_F(RunExperimentTest, AFaultThatOnlyAFullBatchShowsIsFound) {
  add_faulty("bad", [](const FakeRow& row) {
    if (row.batch >= 3 && row.request == 11) row.token = (row.token + 1) % 64;
  });
  add_engine("good");
  EXPECT_EQ(states(run()), (std::map<std::string, RunStatus>{{"good", RunStatus::verified},
                                                             {"bad", RunStatus::incorrect}}));
}

TEST_F(RunExperimentTest, AFaultInOneRepeatOfTheOnlyEngineIsFound) {
  int runs = 0;
  add_engine("flaky", [&](FakeScript& script) {
    if (++runs != 4) return;
    script.fault = [](const FakeRow& row) {
      if (row.request == 3 && row.index == 0) row.token = (row.token + 1) % 64;
    };
  });
  EXPECT_EQ(states(run()).at("flaky"), RunStatus::incorrect);
}

TEST_F(RunExperimentTest, AWrongDigestIsTellableFromItsBytes) {
  use_attention_only();
  add_engine("good");
  add_faulty("bad", [](const FakeRow& row) {
    if (row.request == 8 && row.index == 2) row.digest += 1;
  });
  EXPECT_EQ(states(run()), (std::map<std::string, RunStatus>{{"good", RunStatus::verified},
                                                             {"bad", RunStatus::incorrect}}));
}

TEST_F(RunExperimentTest, ASlightlyWrongAttentionOutputIsFound) {
  use_attention_only();
  add_engine("good");
  add_faulty("bad", [](const FakeRow& row) {
    if (row.request != 23 || row.index != 1) return;
    row.output[5] += 0.001F;
    row.digest = hash_bytes(std::as_bytes(std::span(row.output)));
  });
  const ExperimentResult result = run();
  EXPECT_EQ(states(result), (std::map<std::string, RunStatus>{{"good", RunStatus::verified},
                                                              {"bad", RunStatus::incorrect}}));
}

TEST_F(RunExperimentTest, AFaultThatAllEnginesShareIsFoundByTheOracle) {
  use_attention_only();
  const auto fault = [](const FakeRow& row) {
    row.output[0] *= 1.01F;
    row.digest = hash_bytes(std::as_bytes(std::span(row.output)));
  };
  add_faulty("a", fault);
  add_faulty("b", fault);
  const ExperimentResult result = run();
  EXPECT_EQ(states(result), (std::map<std::string, RunStatus>{{"a", RunStatus::incorrect},
                                                              {"b", RunStatus::incorrect}}));
  EXPECT_GT(result.engines[0].oracle_error_max, 1e-3);
}

TEST_F(RunExperimentTest, WhereTheOracleCannotTellAllAreIncorrect) {
  use_attention_only();
  add_engine("a");
  add_faulty("b", [](const FakeRow& row) {  // within the tolerance, but not bit-identical
    row.output[0] = std::nextafter(row.output[0], 2.0F);
    row.digest = hash_bytes(std::as_bytes(std::span(row.output)));
  });
  EXPECT_EQ(states(run()), (std::map<std::string, RunStatus>{{"a", RunStatus::incorrect},
                                                             {"b", RunStatus::incorrect}}));
}

TEST_F(RunExperimentTest, AnEngineWithoutMeaningIsUnchecked) {
  add_engine("good");
  add_engine("null", [](FakeScript& script) {
    script.info.checked = false;
    script.fault = [](const FakeRow& row) { row.token = 0; };
  });
  EXPECT_EQ(states(run()), (std::map<std::string, RunStatus>{{"good", RunStatus::verified},
                                                             {"null", RunStatus::unchecked}}));
}

TEST_F(RunExperimentTest, UnequalTermsAreRefusedByName) {
  add_engine("first");
  add_engine("second");
  add_engine("third");
  point().engines[2].budget.kv_bytes = 999;
  const auto result = run_experiment(experiment_, registry_, options_);
  ASSERT_FALSE(result.has_value());
  EXPECT_THAT(result.error().message,
              AllOf(HasSubstr("first and third"), HasSubstr("kv_bytes is 1000 and 999")));
  EXPECT_EQ(result.error().code, ExitCode::bad_input);
  EXPECT_TRUE(made_.empty());
}

TEST_F(RunExperimentTest, TheLastPointsMistakeIsKnownBeforeTheFirstIsMeasured) {
  bool measured = false;
  add_engine("a", [&](FakeScript& script) {
    script.step_time = [&](const StepPlan&) {
      measured = true;
      return Nanoseconds{1};
    };
  });
  experiment_.points.push_back(point());
  experiment_.points[1].backend.kind = "nowhere";
  const auto result = run_experiment(experiment_, registry_, options_);
  ASSERT_FALSE(result.has_value());
  EXPECT_THAT(result.error().message, HasSubstr("nowhere"));
  EXPECT_FALSE(measured);
}

TEST_F(RunExperimentTest, ReservingMoreThanTheBudgetIsRefused) {
  add_engine("modest");
  add_engine("greedy", [](FakeScript& script) { script.reserved_bytes = 1001; });
  const auto result = run_experiment(experiment_, registry_, options_);
  ASSERT_FALSE(result.has_value());
  EXPECT_THAT(result.error().message, AllOf(HasSubstr("greedy"), HasSubstr("1001")));
}

TEST_F(RunExperimentTest, ALateGeneratorMakesARunInvalid) {
  point().driver.generator_lag_budget_ms = 2;
  before_pull_ = [this] { clock_.advance(3 * kNanosecondsPerMillisecond); };
  add_engine("a");
  EXPECT_EQ(states(run()).at("a"), RunStatus::verified);  // closed: no schedule to be late for
  point().workload.arrivals.kind = ArrivalSpec::Kind::trace;
  const ExperimentResult result = run();
  EXPECT_EQ(states(result).at("a"), RunStatus::invalid);
  EXPECT_THAT(result.engines[0].status_reason, HasSubstr("generator"));
  EXPECT_EQ(exit_code_of(result), ExitCode::ambiguous);
}

TEST_F(RunExperimentTest, ATimeLimitMakesARunIncomplete) {
  point().driver.time_limit_s = 20e-6;
  add_engine("a");
  const ExperimentResult result = run();
  EXPECT_EQ(states(result).at("a"), RunStatus::incomplete);
  EXPECT_GT(result.logs[0][0].requests.size(), 0U);
  EXPECT_EQ(exit_code_of(result), ExitCode::incomplete);
}

TEST_F(RunExperimentTest, AStopKeepsWhatWasMeasured) {
  std::atomic<bool> stop = false;
  options_.stop = &stop;
  add_engine("a");
  int runs = 0;
  add_engine("b", [&](FakeScript& script) {
    script.step_time = [&](const StepPlan& plan) {
      if (plan.step == 1) ++runs;
      stop = runs == 2;
      return Nanoseconds{1};
    };
  });
  experiment_.points.push_back(point());
  const ExperimentResult result = run();
  EXPECT_TRUE(result.interrupted);
  ASSERT_EQ(result.engines.size(), 2U);  // the second point was not begun
  EXPECT_EQ(states(result), (std::map<std::string, RunStatus>{{"a", RunStatus::incomplete},
                                                              {"b", RunStatus::incomplete}}));
  EXPECT_FALSE(result.logs[1][0].interrupted);
  ASSERT_EQ(result.logs[1].size(), 2U);
  EXPECT_TRUE(result.logs[1][1].interrupted);
  EXPECT_EQ(exit_code_of(result), ExitCode::incomplete);
}

TEST_F(RunExperimentTest, PointsThatAreTooLargeAreSkippedAndNamed) {
  add_engine("a");
  point().driver.max_kv_bytes = point().budget.kv_bytes;
  experiment_.points.resize(3, point());
  experiment_.points[1].budget.kv_bytes = std::uint64_t{1} << 40;
  experiment_.points[1].driver.max_kv_bytes = 0;
  experiment_.points[1].axes = {{"budget.kv_bytes", "1 TiB"}};
  experiment_.points[2].budget.kv_bytes += 1;
  options_.available_memory_bytes = std::uint64_t{1} << 39;
  const ExperimentResult result = run();
  EXPECT_EQ(result.engines.size(), 1U);
  ASSERT_EQ(result.skipped.size(), 2U);
  EXPECT_EQ(result.skipped[0].point, experiment_.points[1].axes);
  EXPECT_THAT(result.skipped[0].reason, AllOf(HasSubstr("1.00 TiB"), HasSubstr("512 GiB")));
  EXPECT_THAT(result.skipped[1].reason, HasSubstr("driver.max_kv_bytes"));
}

TEST_F(RunExperimentTest, ProgressCoversAllRuns) {
  add_engine("a", [](FakeScript& script) {
    script.step_time = [](const StepPlan&) { return 200 * kNanosecondsPerMillisecond; };
  });
  std::set<std::size_t> runs;
  options_.progress = [&](const RunProgress& progress) {
    EXPECT_EQ(progress.runs, 4U);
    EXPECT_EQ(progress.expected_requests, 40U);
    runs.insert(progress.run);
  };
  run();
  EXPECT_EQ(runs, (std::set<std::size_t>{0, 1, 2, 3}));
}

TEST_F(RunExperimentTest, VerificationChecksEveryTokenOfEveryRequest) {
  add_engine("good");
  add_faulty("bad", [](const FakeRow& row) {
    if (row.request == 29 && row.index == 0) row.token = (row.token + 1) % 64;
  });
  add_engine("null", [](FakeScript& script) { script.info.checked = false; });
  const Result<VerifyReport> report = verify_experiment(experiment_, registry_, options_);
  ASSERT_TRUE(report.has_value());
  std::uint64_t tokens = 0;
  for (RequestId id = 0; id < 40; ++id)
    tokens += fake_request(id, 0, 1, 1 + (id * 5) % 7).output_tokens;
  ASSERT_EQ(report->engines.size(), 3U);
  EXPECT_EQ(report->engines[0].status, RunStatus::verified) << report->engines[0].reason;
  EXPECT_EQ(report->engines[0].requests_checked, 40U);
  EXPECT_EQ(report->engines[0].tokens_checked, tokens);
  EXPECT_EQ(report->engines[1].status, RunStatus::incorrect);
  EXPECT_THAT(report->engines[1].reason, HasSubstr("request 29"));
  EXPECT_EQ(report->engines[2].status, RunStatus::unchecked);
  EXPECT_EQ(exit_code_of(*report), ExitCode::incorrect);
}

TEST_F(RunExperimentTest, VerificationOfNothingVerifiesNothing) {
  add_engine("tiny", [](FakeScript& script) { script.info.max_history_tokens = 0; });
  point().workload.requests = 4;
  const Result<VerifyReport> report = verify_experiment(experiment_, registry_, options_);
  ASSERT_TRUE(report.has_value());
  ASSERT_EQ(report->engines.size(), 1U);
  ASSERT_EQ(report->engines[0].requests_checked, 0U);
  EXPECT_NE(report->engines[0].status, RunStatus::verified);
  EXPECT_THAT(report->engines[0].reason, HasSubstr("no request finished"));
}

TEST_F(RunExperimentTest, VerificationSeesBitsThatTheToleranceHides) {
  use_attention_only();
  add_engine("a");
  add_faulty("b", [](const FakeRow& row) {
    row.output[0] = std::nextafter(row.output[0], 2.0F);
    row.digest = hash_bytes(std::as_bytes(std::span(row.output)));
  });
  const Result<VerifyReport> report = verify_experiment(experiment_, registry_, options_);
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->engines[0].status, RunStatus::incorrect);
  EXPECT_EQ(report->engines[1].status, RunStatus::incorrect);
  EXPECT_LT(report->engines[1].error_max, 1e-6);
}

}  // namespace
}  // namespace kvrm
