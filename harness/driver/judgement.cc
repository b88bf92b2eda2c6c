#include "harness/driver/judgement.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "harness/base/check.h"
#include "harness/base/hash.h"
#include "harness/base/mutation.h"
#include "harness/driver/solo_run.h"

namespace kvrm {
namespace {

const RequestRecord* finished_record(const EventLog& log, RequestId id) {
  if (id >= log.requests.size()) return nullptr;
  const RequestRecord& record = log.requests[id];
  return record.state == RequestState::finished ? &record : nullptr;
}

// Settles one disputed request among the engines that finished it.
class Dispute {
 public:
  Dispute(const PointContext& context, OracleChecker& oracle,
          std::span<const std::vector<EventLog>> logs, std::span<EngineVerdict> verdicts,
          Request request)
      : context_(context),
        oracle_(oracle),
        logs_(logs),
        verdicts_(verdicts),
        request_(std::move(request)) {}

  // Marks at least one of `engines`.
  Status settle(const std::vector<std::size_t>& engines) {
    engines_ = engines;
    if (Status ran = run_all(kCaptureLast); !ran) return ran;
    const std::uint32_t parting = first_parting();
    if (parting == kCaptureLast) {
      mark_logs_unlike_confirmed();
    } else {
      if (Status ran = run_all(parting); !ran) return ran;
      mark_wrong_side(parting);
    }
    return {};
  }

 private:
  void mark(std::size_t engine, std::string reason) {
    if (verdicts_[engine].incorrect) return;
    verdicts_[engine].incorrect = true;
    verdicts_[engine].reason = std::move(reason);
  }

  void mark_all(const std::string& reason) {
    for (const std::size_t engine : engines_) mark(engine, reason);
  }

  Status run_all(std::uint32_t capture) {
    runs_.clear();
    for (const std::size_t index : engines_) {
      const Result<std::unique_ptr<Engine>> engine = context_.make_engine(index);
      if (!engine) return tl::unexpected(engine.error());
      runs_.push_back(run_alone(**engine, request_, context_.model().shape(),
                                context_.point().budget.prefill_tokens, capture));
    }
    return {};
  }

  // Index of the first output in which the lone runs differ; kCaptureLast where they do not.
  std::uint32_t first_parting() const {
    std::size_t shared = runs_.front().digests.size();
    for (const SoloRun& run : runs_) {
      const auto [here, there] =
          std::mismatch(runs_.front().digests.begin(), runs_.front().digests.end(),
                        run.digests.begin(), run.digests.end());
      shared = std::min(shared, static_cast<std::size_t>(here - runs_.front().digests.begin()));
    }
    const bool all_alike = std::all_of(runs_.begin(), runs_.end(), [&](const SoloRun& run) {
      return run.digests.size() == shared;
    });
    return all_alike ? kCaptureLast : static_cast<std::uint32_t>(shared);
  }

  // The engines agree when the request is alone: whichever log says otherwise is wrong.
  void mark_logs_unlike_confirmed() {
    const OracleFinding finding = oracle_.check_all(request_, runs_.front().captured);
    if (!finding.right) return mark_all(finding.reason);
    for (const std::size_t engine : engines_) {
      for (const EventLog& log : logs_[engine]) {
        const RequestRecord* record = finished_record(log, request_.id);
        if (record == nullptr || record->output_digest == runs_.front().chain) continue;
        mark(engine, fmt::format("request {}: repeat {} gave another output than the same request "
                                 "alone, which the oracle confirms",
                                 request_.id, log.repeat));
      }
    }
  }

  void mark_wrong_side(std::uint32_t parting) {
    std::vector<std::size_t> confirmed;  // positions in engines_
    for (std::size_t i = 0; i < engines_.size(); ++i) {
      const OracleFinding finding = oracle_.check_last(request_, runs_[i].captured);
      if (finding.right) {
        confirmed.push_back(i);
      } else {
        mark(engines_[i], finding.reason);
      }
    }
    std::set<std::uint64_t> digests;
    for (const std::size_t i : confirmed) digests.insert(runs_[i].digests[parting]);
    if (digests.size() > KVRM_MUTATE(judge_ties_of_digests_pass, 1U, 2U))
      mark_false_digests(confirmed, parting);
  }

  // The outputs are all right to within the tolerance and yet differ, or only their digests do.
  void mark_false_digests(const std::vector<std::size_t>& confirmed, std::uint32_t parting) {
    std::vector<std::size_t> honest;
    for (const std::size_t i : confirmed) {
      const auto bytes = std::as_bytes(std::span(runs_[i].captured.output));
      if (runs_[i].digests[parting] == hash_bytes(bytes)) honest.push_back(i);
    }
    std::set<std::uint64_t> digests;
    for (const std::size_t i : honest) digests.insert(runs_[i].digests[parting]);
    const bool settled = digests.size() == 1;
    for (const std::size_t i : confirmed) {
      if (settled && std::count(honest.begin(), honest.end(), i) > 0) continue;
      mark(engines_[i],
           settled ? fmt::format("request {}: the digest of output {} is not that of its bytes",
                                 request_.id, parting)
                   : fmt::format("request {}: engines of one definition differ in output {}, and "
                                 "the oracle cannot tell which is right",
                                 request_.id, parting));
    }
  }

  const PointContext& context_;
  OracleChecker& oracle_;
  std::span<const std::vector<EventLog>> logs_;
  std::span<EngineVerdict> verdicts_;
  Request request_;
  std::vector<std::size_t> engines_;
  std::vector<SoloRun> runs_;  // by position in engines_
};

std::vector<std::size_t> engines_that_finished(std::span<const std::vector<EventLog>> logs,
                                               const std::vector<bool>& judged, RequestId id) {
  std::vector<std::size_t> engines;
  for (std::size_t i = 0; i < logs.size(); ++i) {
    if (judged[i] && std::any_of(logs[i].begin(), logs[i].end(), [&](const EventLog& log) {
          return finished_record(log, id) != nullptr;
        })) {
      engines.push_back(i);
    }
  }
  return engines;
}

// Ids of all samples of judged engines, ascending, distinct.
std::vector<RequestId> sampled_requests(std::span<const std::vector<EventLog>> logs,
                                        const std::vector<bool>& judged) {
  std::set<RequestId> ids;
  for (std::size_t i = 0; i < logs.size(); ++i) {
    if (!judged[i]) continue;
    for (const EventLog& log : logs[i]) {
      for (const OutputSample& sample : log.samples) ids.insert(sample.request);
    }
  }
  return {ids.begin(), ids.end()};
}

}  // namespace

std::optional<RequestId> first_disagreement(std::span<const std::vector<EventLog>> logs,
                                            const std::vector<bool>& judged) {
  std::vector<const EventLog*> all;
  for (std::size_t i = 0; i < logs.size(); ++i) {
    if (!judged[i]) continue;
    for (const EventLog& log : logs[i]) all.push_back(&log);
  }
  std::size_t requests = 0;
  for (const EventLog* log : all) requests = std::max(requests, log->requests.size());
  for (RequestId id = KVRM_MUTATE(judge_skips_first_request, 0, 1); id < requests; ++id) {
    const RequestRecord* first = nullptr;
    for (const EventLog* log : all) {
      const RequestRecord* record = finished_record(*log, id);
      if (record == nullptr) continue;
      if (first == nullptr) first = record;
      if (record->output_digest != first->output_digest) return id;
    }
  }
  return std::nullopt;
}

std::vector<Family> families_of(const std::vector<EngineInfo>& infos) {
  std::vector<Family> families = {{.rule = {}, .members = std::vector<bool>(infos.size())}};
  for (std::size_t i = 0; i < infos.size(); ++i) {
    const EngineInfo& info = infos[i];
    if (!is_judged(info)) continue;
    KVRM_CHECK_NE(info.exact, info.far_history.enabled);
    const FarHistoryRule rule = info.exact ? FarHistoryRule{} : info.far_history;
    auto family = std::find_if(families.begin(), families.end(), [&](const Family& known) {
      return KVRM_MUTATE(judge_family_ignores_rule, known.rule == rule, true);
    });
    if (family == families.end()) {
      family = families.insert(family, {rule, std::vector<bool>(infos.size())});
    }
    family->members[i] = true;
  }
  return families;
}

FamilyJudge::FamilyJudge(const PointContext& context, Family family)
    : context_(context), family_(std::move(family)), oracle_(context.make_oracle(family_.rule)) {}

// Members that nothing is known against.
std::vector<bool> FamilyJudge::standing(std::span<const EngineVerdict> verdicts) const {
  std::vector<bool> judged = family_.members;
  for (std::size_t i = 0; i < verdicts.size(); ++i) {
    if (verdicts[i].incorrect) judged[i] = false;
  }
  return judged;
}

Status FamilyJudge::settle_disagreements(std::span<const std::vector<EventLog>> logs,
                                         std::span<EngineVerdict> verdicts) {
  while (true) {
    const std::vector<bool> judged = standing(verdicts);
    const std::optional<RequestId> disputed = first_disagreement(logs, judged);
    if (!disputed) return {};
    Result<std::vector<Request>> request =
        context_.find_requests(std::span<const RequestId>(&*disputed, 1));
    if (!request) return tl::unexpected(request.error());
    Dispute dispute(context_, oracle_, logs, verdicts, std::move(request->front()));
    Status settled = dispute.settle(engines_that_finished(logs, judged, *disputed));
    if (!settled) return settled;
    KVRM_CHECK(standing(verdicts) != judged);
  }
}

Status FamilyJudge::check_samples(std::span<const std::vector<EventLog>> logs,
                                  std::span<EngineVerdict> verdicts) {
  const std::vector<bool> judged = standing(verdicts);
  const std::vector<RequestId> ids = sampled_requests(logs, judged);
  const Result<std::vector<Request>> requests = context_.find_requests(ids);
  if (!requests) return tl::unexpected(requests.error());
  for (std::size_t i = 0; i < logs.size(); ++i) {
    if (!judged[i]) continue;
    for (const EventLog& log : logs[i]) {
      for (const OutputSample& sample : log.samples) {
        const auto place = std::lower_bound(ids.begin(), ids.end(), sample.request) - ids.begin();
        check((*requests)[static_cast<std::size_t>(place)], sample, verdicts[i]);
      }
    }
  }
  for (std::size_t i = 0; i < verdicts.size(); ++i) {
    if (family_.members[i]) verdicts[i].shadow = oracle_.shadow();
  }
  return {};
}

void FamilyJudge::check(const Request& request, const OutputSample& sample,
                        EngineVerdict& verdict) {
  const OracleFinding finding = oracle_.check_all(request, sample);
  ++verdict.oracle_samples;
  verdict.oracle_error_max = std::max(verdict.oracle_error_max, finding.error);
  if (finding.right || verdict.incorrect) return;
  verdict.incorrect = true;
  verdict.reason = finding.reason;
}

std::string broken_bound(const ShadowError& shadow) {
  if (!(shadow.error_over_bound_max > KVRM_MUTATE(judge_bound_twice_as_wide, 1, 2))) return {};
  return fmt::format("the far history's error is {:.6g} times its bound, so the bound is wrong",
                     shadow.error_over_bound_max);
}

std::uint64_t common_output_digest(const PointContext& context,
                                   std::span<const std::vector<EventLog>> logs) {
  const Family exact = families_of(context.engine_infos()).front();
  std::set<std::uint64_t> digests;
  for (std::size_t i = 0; i < logs.size(); ++i) {
    if (!exact.members[i]) continue;
    for (const EventLog& log : logs[i]) digests.insert(log.output_digest);
  }
  return digests.size() == 1 ? *digests.begin() : 0;
}

}  // namespace kvrm
