#include "harness/driver/replay_check.h"

#include <algorithm>
#include <vector>

#include "harness/base/hash.h"
#include "harness/driver/live_request.h"

namespace kvrm {

std::optional<std::size_t> logging_engine(const ExperimentPoint& point, const Registry& registry) {
  for (std::size_t i = 0; i < point.engines.size(); ++i) {
    const auto entry =
        std::ranges::find(registry.engines, point.engines[i].kind, &EngineEntry::kind);
    if (entry != registry.engines.end() && entry->logs_descriptors) return i;
  }
  return std::nullopt;
}

Result<ReplayCheck> check_descriptor_log(const PointContext& context, std::size_t engine,
                                         const std::string& file, const EventLog& log) {
  const EngineSpec& spec = context.point().engines[engine];
  const Result<ReplayedLog> replayed =
      context.registry().replay_log(file, spec, context.model(), context.device());
  if (!replayed) return tl::unexpected(replayed.error());
  ReplayCheck check{.engine = spec.label, .steps = replayed->steps};
  std::vector<RequestRecord> expected;
  std::vector<RequestRecord> given;
  for (const RequestRecord& record : log.requests) {
    const auto outputs = replayed->outputs.find(record.id);
    // A log that was cut off by a time limit ends inside some requests.
    const bool whole = record.state == RequestState::finished &&
                       outputs != replayed->outputs.end() &&
                       outputs->second.size() == record.output_tokens;
    if (!whole) continue;
    expected.push_back(record);
    given.push_back(record);
    given.back().output_digest = kDigestSeed;
    for (const std::uint64_t digest : outputs->second) {
      given.back().output_digest = hash_combine(given.back().output_digest, digest);
    }
  }
  check.requests = expected.size();
  check.expected_digest = fold_output_digests(expected);
  check.replayed_digest = fold_output_digests(given);
  return check;
}

}  // namespace kvrm
