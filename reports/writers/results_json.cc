#include "harness/base/hash.h"
#include "harness/metrics/dictionary.h"
#include "reports/writers/engine_json.h"
#include "reports/writers/writers.h"

namespace kvrm {
namespace {

// A single point's digest as it is; of several points, their chain.
std::uint64_t chain_points(const ExperimentResult& result, std::uint64_t PointDigests::*member) {
  if (result.digests.size() == 1) return result.digests.front().*member;
  std::uint64_t digest = 0;
  for (const PointDigests& point : result.digests) digest = hash_combine(digest, point.*member);
  return digest;
}

std::uint64_t chain_logs(const ExperimentResult& result) {
  std::uint64_t digest = chain_points(result, &PointDigests::workload);
  for (const auto& logs : result.logs) {
    for (const EventLog& log : logs) digest = hash_combine(digest, event_log_digest(log));
  }
  return digest;
}

Json digests_json(const ExperimentResult& result) {
  Json points = Json::array();
  for (const PointDigests& point : result.digests) {
    points.push_back({{"point", point.point},
                      {"model", digest_text(point.model)},
                      {"workload", digest_text(point.workload)},
                      {"outputs", digest_text(point.outputs)}});
  }
  return {{"model", digest_text(chain_points(result, &PointDigests::model))},
          {"workload", digest_text(chain_points(result, &PointDigests::workload))},
          {"event_log", digest_text(chain_logs(result))},
          {"outputs", digest_text(chain_points(result, &PointDigests::outputs))},
          {"report", ""},
          {"points", points}};
}

Json comparisons_json(const ExperimentResult& result) {
  Json json = Json::array();
  for (const Comparison& comparison : result.comparisons) {
    json.push_back({{"point", comparison.point},
                    {"metric", comparison.metric},
                    {"engine", comparison.engine},
                    {"baseline", comparison.baseline},
                    {"ratio", estimate_json(comparison.ratio)}});
  }
  return json;
}

Json skipped_json(const ExperimentResult& result) {
  Json json = Json::array();
  for (const SkippedPoint& skipped : result.skipped) {
    json.push_back({{"point", skipped.point}, {"reason", skipped.reason}});
  }
  return json;
}

Json dictionary_json() {
  Json json = Json::array();
  for (const MetricEntry& entry : metric_dictionary()) {
    json.push_back({{"name", entry.name},
                    {"formula", entry.formula},
                    {"anchor", entry.anchor},
                    {"unit", entry.unit},
                    {"pooling", entry.pooling}});
  }
  return json;
}

Json document_json(const ExperimentResult& result) {
  Json engines = Json::array();
  for (const EngineResult& engine : result.engines) engines.push_back(engine_json(engine));
  return {
      {"schema", "kvrm.results/1"},
      {"experiment",
       {{"name", result.name},
        {"question", result.question},
        {"resolved_yaml", result.resolved_yaml}}},
      {"environment", result.environment.facts},
      {"digests", digests_json(result)},
      {"interrupted", result.interrupted},
      {"engines", engines},
      {"comparisons", comparisons_json(result)},
      {"skipped", skipped_json(result)},
      {"dictionary", dictionary_json()},
  };
}

// Text that is not UTF-8 (an odd path in a reason) must not lose a whole run's results.
std::string dump(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

Result<std::string> render_results_json(const ExperimentResult& result) {
  Json document = document_json(result);
  // The last link of the chain: this file's compact text with the field itself empty, over the
  // event logs' digest.
  document["digests"]["report"] =
      digest_text(hash_combine(chain_logs(result), hash_text(dump(document, -1))));
  return dump(document, 2) + "\n";
}

Result<std::string> render_environment_json(const ExperimentResult& result) {
  return dump(Json(result.environment.facts), 2) + "\n";
}

}  // namespace kvrm
