#include "harness/driver/verify_experiment.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "harness/base/mutation.h"
#include "harness/device/cpu_device.h"
#include "harness/driver/judgement.h"
#include "harness/driver/point_context.h"

namespace kvrm {
namespace {

bool stop_asked(const RunOptions& options) {
  return options.stop != nullptr && options.stop->load(std::memory_order_relaxed);
}

// All engines of one point, one after the other.
class PointVerification {
 public:
  PointVerification(const PointContext& context, const RunOptions& options, RunProgress& progress)
      : context_(context), options_(options), progress_(progress) {
    for (Family& family : families_of(context.engine_infos())) {
      judges_.emplace_back(context, std::move(family));
    }
  }

  Result<std::vector<EngineVerification>> run() {
    std::vector<RequestId> ids(context_.workload().requests);
    std::iota(ids.begin(), ids.end(), RequestId{0});
    Result<std::vector<Request>> requests = context_.find_requests(ids);
    if (!requests) return tl::unexpected(requests.error());
    requests_ = std::move(*requests);

    const std::size_t engines = context_.point().engines.size();
    logs_.resize(engines);
    reports_.resize(engines);
    for (std::size_t i = 0; i < engines; ++i, ++progress_.run) {
      reports_[i].point = context_.point().axes;
      reports_[i].label = context_.point().engines[i].label;
      reports_[i].follows_rule = context_.engine_infos()[i].far_history.enabled;
      if (Status done = verify_engine(i); !done) return tl::unexpected(done.error());
    }
    if (Status settled = compare_engines(); !settled) return tl::unexpected(settled.error());
    add_shadows();
    return std::move(reports_);
  }

  // After run().
  Result<ReplayCheck> replay(std::size_t engine) const {
    return check_descriptor_log(context_, engine, options_.descriptor_log, logs_[engine].front());
  }

 private:
  Status verify_engine(std::size_t index) {
    EngineVerification& report = reports_[index];
    if (!is_judged(context_.engine_infos()[index])) {
      report.status = RunStatus::unchecked;
      report.reason = "its outputs have no reference, by design";
      return {};
    }
    const Result<std::unique_ptr<Engine>> engine = context_.make_engine(index);
    if (!engine) return tl::unexpected(engine.error());
    const Result<std::unique_ptr<RequestStream>> stream = context_.open_workload();
    if (!stream) return tl::unexpected(stream.error());
    // Times mean nothing here, so nobody waits for arrivals: a full batch at all times.
    const LoopMode loop{.closed = true, .concurrency = context_.point().budget.max_batch};
    Result<EventLog> log =
        drive(**engine, **stream, loop, options_of(index), context_.device().clock());
    if (!log) return tl::unexpected(log.error());
    conclude(*log, report);
    logs_[index].push_back(std::move(*log));
    return {};
  }

  DriveOptions options_of(std::size_t index) {
    DriveOptions drive = context_.drive_options();
    drive.stop = options_.stop;
    drive.samples = {.longest = 0, .preempted = 0, .random = 0};
    drive.on_finished = [this, index](const RequestRecord& record, const OutputSample& sample) {
      check(index, requests_[record.id], sample);
    };
    if (options_.progress) {
      progress_.engine = context_.point().engines[index].label;
      progress_.expected_requests = context_.workload().requests;
      drive.progress = [this](const DriveProgress& progress) {
        progress_.drive = progress;
        options_.progress(progress_);
      };
    }
    return drive;
  }

  FamilyJudge& judge_of(std::size_t index) {
    return *std::find_if(judges_.begin(), judges_.end(),
                         [&](const FamilyJudge& judge) { return judge.family().members[index]; });
  }

  void check(std::size_t index, const Request& request, const OutputSample& sample) {
    EngineVerification& report = reports_[index];
    const OracleFinding finding = judge_of(index).oracle().check_all(request, sample);
    ++report.requests_checked;
    report.tokens_checked += finding.tokens;
    report.near_ties += finding.near_ties;
    report.error_max = std::max(report.error_max, finding.error);
    if (finding.right || !report.reason.empty()) return;
    report.reason = finding.reason;
  }

  static void conclude(const EventLog& log, EngineVerification& report) {
    report.requests_refused = static_cast<std::uint64_t>(std::count_if(
        log.requests.begin(), log.requests.end(),
        [](const RequestRecord& record) { return record.state == RequestState::refused; }));
    if (!report.reason.empty()) {
      report.status = RunStatus::incorrect;
    } else if (log.interrupted) {
      report.reason = "stopped before every request had ended";
    } else if (report.requests_checked == KVRM_MUTATE(judge_unchecked_is_verified, 0U, ~0ULL)) {
      report.reason = "no request finished, so no output was verified";
    } else {
      report.status = report.follows_rule ? RunStatus::approximate : RunStatus::verified;
    }
  }

  // Engines of one family must agree to the bit, not only within the oracle's tolerance.
  Status compare_engines() {
    std::vector<EngineVerdict> verdicts(reports_.size());
    for (std::size_t i = 0; i < reports_.size(); ++i) {
      verdicts[i].incorrect = reports_[i].status == RunStatus::incorrect;
    }
    for (FamilyJudge& judge : judges_) {
      if (Status settled = judge.settle_disagreements(logs_, verdicts); !settled) return settled;
    }
    for (std::size_t i = 0; i < reports_.size(); ++i) {
      if (!verdicts[i].incorrect || reports_[i].status == RunStatus::incorrect) continue;
      reports_[i].status = RunStatus::incorrect;
      reports_[i].reason = verdicts[i].reason;
    }
    return {};
  }

  void add_shadows() {
    for (std::size_t i = 0; i < reports_.size(); ++i) {
      EngineVerification& report = reports_[i];
      if (!report.follows_rule || !is_judged(context_.engine_infos()[i])) continue;
      report.shadow = judge_of(i).oracle().shadow();
      if (report.status != RunStatus::approximate) continue;
      report.reason = broken_bound(report.shadow);
      if (!report.reason.empty()) report.status = RunStatus::invalid;
    }
  }

  const PointContext& context_;
  const RunOptions& options_;
  RunProgress& progress_;
  std::vector<FamilyJudge> judges_;
  std::vector<Request> requests_;
  std::vector<std::vector<EventLog>> logs_;
  std::vector<EngineVerification> reports_;
};

Status verify_point(const ExperimentPoint& point, const Registry& registry,
                    const RunOptions& options, RunProgress& progress, VerifyReport& report) {
  const Result<PointContext> context = PointContext::open(point, registry);
  if (!context) return tl::unexpected(context.error());
  PointVerification verification(*context, options, progress);
  Result<std::vector<EngineVerification>> engines = verification.run();
  if (!engines) return tl::unexpected(engines.error());
  const std::optional<std::size_t> logging = logging_engine(point, registry);
  if (!options.descriptor_log.empty() && logging && !report.replay) {
    Result<ReplayCheck> replay = verification.replay(*logging);
    if (!replay) return tl::unexpected(replay.error());
    report.replay = std::move(*replay);
  }
  std::move(engines->begin(), engines->end(), std::back_inserter(report.engines));
  return {};
}

}  // namespace

Result<VerifyReport> verify_experiment(const Experiment& experiment, const Registry& registry,
                                       const RunOptions& options) {
  VerifyReport report;
  RunProgress progress;
  for (const ExperimentPoint& point : experiment.points) progress.runs += point.engines.size();
  const std::uint64_t available = options.available_memory_bytes > 0
                                      ? options.available_memory_bytes
                                      : available_memory_bytes();
  for (const ExperimentPoint& point : experiment.points) {
    if (stop_asked(options)) break;
    if (std::optional<std::string> reason = why_too_large(point, available)) {
      report.skipped.push_back({point.axes, std::move(*reason)});
      progress.runs -= point.engines.size();
      continue;
    }
    Status done = verify_point(point, registry, options, progress, report);
    if (!done) return tl::unexpected(done.error());
  }
  report.interrupted = stop_asked(options);
  return report;
}

}  // namespace kvrm
