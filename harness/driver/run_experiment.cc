#include "harness/driver/run_experiment.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "harness/device/cpu_device.h"
#include "harness/driver/judgement.h"
#include "harness/driver/point_context.h"
#include "harness/driver/replay_check.h"
#include "harness/metrics/summarise.h"
#include "harness/result/environment.h"

namespace kvrm {
namespace {

using EngineLogs = std::vector<std::vector<EventLog>>;  // by engine, then repeat

bool stop_asked(const RunOptions& options) {
  return options.stop != nullptr && options.stop->load(std::memory_order_relaxed);
}

std::size_t count_runs(const Experiment& experiment) {
  std::size_t runs = 0;
  for (const ExperimentPoint& point : experiment.points) {
    runs += point.engines.size() * point.driver.repeats;
  }
  return runs;
}

// All repeats of all engines of one point.
class PointRuns {
 public:
  PointRuns(const PointContext& context, const std::string& resolved_yaml,
            const RunOptions& options, RunProgress& progress)
      : context_(context),
        resolved_yaml_(resolved_yaml),
        options_(options),
        progress_(progress),
        first_point_(progress.run == 0) {}

  // Interleaved, and rotated so that no engine is always first: repeat r begins with engine r mod
  // n. Each run has a fresh engine, and no two engines hold memory at once.
  Result<EngineLogs> run_all() {
    const std::size_t engines = context_.point().engines.size();
    EngineLogs logs(engines);
    for (std::uint32_t repeat = 0; repeat < context_.point().driver.repeats; ++repeat) {
      for (std::size_t turn = 0; turn < engines; ++turn) {
        if (stop_asked(options_)) return logs;
        const std::size_t index = (repeat + turn) % engines;
        Result<EventLog> log = run_one(index, repeat);
        if (!log) return tl::unexpected(log.error());
        logs[index].push_back(std::move(*log));
        ++progress_.run;
      }
    }
    return logs;
  }

 private:
  Result<EventLog> run_one(std::size_t index, std::uint32_t repeat) {
    const Result<std::unique_ptr<Engine>> engine =
        context_.make_engine(index, descriptor_log_of(index, repeat));
    if (!engine) return tl::unexpected(engine.error());
    const Result<std::unique_ptr<RequestStream>> stream = context_.open_workload();
    if (!stream) return tl::unexpected(stream.error());
    Result<EventLog> log = drive(**engine, **stream, context_.loop(), options_of(index, repeat),
                                 context_.device().clock());
    if (log && !log->end_usage.failure.empty()) {
      return fail(ExitCode::incomplete, log->end_usage.failure);
    }
    if (!log || log->interrupted || log->workload_digest == context_.workload().digest) return log;
    return fail(ExitCode::incomplete,
                fmt::format("workload: engine {} in repeat {} was given other requests than were "
                            "announced",
                            log->engine_label, repeat));
  }

  // Of the first point only: a later one would replace the file.
  DescriptorLogSpec descriptor_log_of(std::size_t index, std::uint32_t repeat) const {
    const bool logs = repeat == 0 && first_point_ &&
                      logging_engine(context_.point(), context_.registry()) == index;
    if (!logs) return {};
    return {.file = options_.descriptor_log, .experiment = resolved_yaml_};
  }

  DriveOptions options_of(std::size_t index, std::uint32_t repeat) {
    DriveOptions drive = context_.drive_options();
    drive.repeat = repeat;
    drive.time_limit =
        static_cast<Nanoseconds>(context_.point().driver.time_limit_s * kNanosecondsPerSecond);
    drive.stop = options_.stop;
    drive.keep_output_tokens = options_.keep_output_tokens;
    drive.samples = options_.samples;
    drive.samples.seed = context_.point().workload.seed;
    if (options_.progress) {
      progress_.engine = context_.point().engines[index].label;
      progress_.repeat = repeat;
      progress_.expected_requests = context_.workload().requests;
      drive.progress = [this](const DriveProgress& progress) {
        progress_.drive = progress;
        options_.progress(progress_);
      };
    }
    return drive;
  }

  const PointContext& context_;
  const std::string& resolved_yaml_;
  const RunOptions& options_;
  RunProgress& progress_;
  bool first_point_;
};

void set_status(EngineResult& engine, RunStatus status, std::string reason = {}) {
  engine.status = status;
  engine.status_reason = std::move(reason);
}

// What the logs alone say against a measurement; nothing where they say nothing.
bool set_status_of_logs(const PointContext& context, const std::vector<EventLog>& logs,
                        EngineResult& engine) {
  const DriverSpec& driver = context.point().driver;
  const auto cut =
      std::find_if(logs.begin(), logs.end(), [](const EventLog& log) { return log.interrupted; });
  if (cut != logs.end() || logs.size() < driver.repeats) {
    const std::uint64_t repeat = cut != logs.end() ? cut->repeat : logs.size();
    set_status(engine, RunStatus::incomplete,
               fmt::format("stopped in repeat {} of {}, by a signal or driver.time_limit_s",
                           repeat + 1, driver.repeats));
    return true;
  }
  // A closed loop has no schedule that its generator could be late for.
  if (context.loop().closed) return false;
  for (const EventLog& log : logs) {
    const double lag = generator_lag_ms_p99({&log, 1});
    if (lag <= driver.generator_lag_budget_ms) continue;
    set_status(
        engine, RunStatus::invalid,
        fmt::format("repeat {}: the generator was late by {:.3g} ms (p99), allowed is {:.3g} "
                    "ms (driver.generator_lag_budget_ms)",
                    log.repeat + 1, lag, driver.generator_lag_budget_ms));
    return true;
  }
  return false;
}

EngineResult describe_engine(const PointContext& context, std::size_t index,
                             const std::vector<EventLog>& logs, const EngineVerdict& verdict) {
  EngineResult engine;
  engine.point = context.point().axes;
  engine.info = context.engine_infos()[index];
  engine.backend = context.point().backend.kind;
  engine.repeats = static_cast<std::uint32_t>(logs.size());
  engine.output_digest = logs.empty() ? 0 : logs.front().output_digest;
  engine.oracle_samples = verdict.oracle_samples;
  engine.oracle_error_max = verdict.oracle_error_max;
  engine.shadow = verdict.shadow;
  if (verdict.incorrect) {
    set_status(engine, RunStatus::incorrect, verdict.reason);
  } else if (set_status_of_logs(context, logs, engine)) {
    return engine;
  } else if (!engine.info.checked) {
    set_status(engine, RunStatus::unchecked, "its outputs mean nothing, by design");
  } else if (!is_judged(engine.info)) {
    set_status(engine, RunStatus::invalid, "its outputs are approximate and have no reference");
  } else if (verdict.oracle_samples == 0) {
    set_status(engine, RunStatus::incomplete, "no request finished, so no output was verified");
  } else if (const std::string broken = broken_bound(verdict.shadow); !broken.empty()) {
    set_status(engine, RunStatus::invalid, broken);
  } else {
    set_status(engine, engine.info.exact ? RunStatus::verified : RunStatus::approximate);
  }
  return engine;
}

// Verifies and summarises one point's runs into the result.
Status conclude_point(const PointContext& context, EngineLogs logs, ExperimentResult& result) {
  std::vector<EngineVerdict> verdicts(logs.size());
  for (Family& family : families_of(context.engine_infos())) {
    FamilyJudge judge(context, std::move(family));
    if (Status judged = judge.settle_disagreements(logs, verdicts); !judged) return judged;
    if (Status judged = judge.check_samples(logs, verdicts); !judged) return judged;
  }
  std::vector<EngineResult> engines;
  for (std::size_t i = 0; i < logs.size(); ++i) {
    engines.push_back(describe_engine(context, i, logs[i], verdicts[i]));
  }
  std::vector<Comparison> comparisons = summarise_point(context.point(), engines, logs);
  result.digests.push_back({.point = context.point().axes,
                            .model = context.model().digest(),
                            .workload = context.workload().digest,
                            .outputs = common_output_digest(context, logs)});
  std::move(engines.begin(), engines.end(), std::back_inserter(result.engines));
  std::move(comparisons.begin(), comparisons.end(), std::back_inserter(result.comparisons));
  std::move(logs.begin(), logs.end(), std::back_inserter(result.logs));
  return {};
}

Status run_point(const ExperimentPoint& point, const Registry& registry, const RunOptions& options,
                 RunProgress& progress, ExperimentResult& result) {
  const Result<PointContext> context = PointContext::open(point, registry);
  if (!context) return tl::unexpected(context.error());
  if (result.environment.facts.empty()) {
    result.environment = capture_environment(context->device().info(), registry.version);
  }
  Result<EngineLogs> logs = PointRuns(*context, result.resolved_yaml, options, progress).run_all();
  if (!logs) return tl::unexpected(logs.error());
  return conclude_point(*context, std::move(*logs), result);
}

// Opens every point once and lets it go, so that the last point's mistake is known before the first
// point is measured. A single point's own opening comes first anyway.
Status check_all_points(const Experiment& experiment, const Registry& registry,
                        std::uint64_t available) {
  if (experiment.points.size() < 2) return {};
  for (const ExperimentPoint& point : experiment.points) {
    if (why_too_large(point, available)) continue;
    const Result<PointContext> context = PointContext::open(point, registry);
    if (!context) return tl::unexpected(context.error());
  }
  return {};
}

}  // namespace

Result<ExperimentResult> run_experiment(const Experiment& experiment, const Registry& registry,
                                        const RunOptions& options) {
  ExperimentResult result;
  result.name = experiment.name;
  result.question = experiment.question;
  result.resolved_yaml = experiment.resolved_yaml;
  result.axes = experiment.axes;
  // The files are one set for all points, so the first point decides what goes into them.
  if (!experiment.points.empty()) result.output = experiment.points.front().output;
  RunProgress progress;
  progress.runs = count_runs(experiment);
  const std::uint64_t available = options.available_memory_bytes > 0
                                      ? options.available_memory_bytes
                                      : available_memory_bytes();
  if (Status possible = check_all_points(experiment, registry, available); !possible) {
    return tl::unexpected(possible.error());
  }
  for (const ExperimentPoint& point : experiment.points) {
    if (stop_asked(options)) break;
    if (std::optional<std::string> reason = why_too_large(point, available)) {
      result.skipped.push_back({point.axes, std::move(*reason)});
      progress.runs -= point.engines.size() * point.driver.repeats;
      continue;
    }
    Status done = run_point(point, registry, options, progress, result);
    if (!done) return tl::unexpected(done.error());
  }
  result.interrupted = stop_asked(options);
  return result;
}

}  // namespace kvrm
