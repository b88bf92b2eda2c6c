#include <bit>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "harness/base/check.h"
#include "property_tests/fuzz/fuzz_input.h"
#include "reports/writers/writers.h"

namespace kvrm {
namespace {

constexpr std::size_t kEngines = 2;
constexpr std::size_t kRequests = 2;

// Metrics are never less than nothing, nor not a number; infinity is one (results.h).
double take_double(FuzzReader& reader) {
  const auto value = std::bit_cast<double>(reader.take<std::uint64_t>());
  return std::isnan(value) ? 0 : std::fabs(value);
}

Estimate take_estimate(FuzzReader& reader) {
  return {take_double(reader), take_double(reader), take_double(reader)};
}

PercentileRow take_row(FuzzReader& reader) {
  PercentileRow row;
  const auto present = reader.take<std::uint8_t>();
  int bit = 0;
  for (const char* name : {"p50", "p90", "p95", "p99", "p99.9", "max"}) {
    row[name] = (present >> bit++ & 1) != 0 ? std::optional(take_estimate(reader)) : std::nullopt;
  }
  return row;
}

RunMetrics take_metrics(FuzzReader& reader) {
  RunMetrics metrics;
  metrics.output_tokens_per_s = take_estimate(reader);
  metrics.goodput_per_s = take_estimate(reader);
  metrics.latency.ttft_ms = take_row(reader);
  metrics.latency.itl_ms = take_row(reader);
  metrics.spikes.threshold_ms = take_double(reader);
  metrics.generator_lag_ms_p99 = take_estimate(reader);
  metrics.measured_s = take_double(reader);
  return metrics;
}

EngineResult take_engine(FuzzReader& reader, std::size_t index) {
  EngineResult engine;
  engine.point = {{reader.take_text("|"), reader.take_text("|")}};
  engine.info.kind = "kvrm";
  engine.info.label = reader.take_text("|") + std::to_string(index);
  engine.status_reason = reader.take_text("|");
  engine.backend = "cpu";
  engine.status = static_cast<RunStatus>(reader.take<std::uint8_t>() % 7);
  if (carries_metrics(engine.status)) engine.metrics = take_metrics(reader);
  engine.steps = reader.take<std::uint64_t>();
  engine.output_tokens = reader.take<std::uint64_t>();
  engine.memory.reserved_byte_seconds = take_double(reader);
  engine.oracle_error_max = take_double(reader);
  return engine;
}

ExperimentResult take_result(FuzzReader& reader) {
  ExperimentResult result;
  result.name = reader.take_text("|");
  result.question = reader.take_text("|");
  result.resolved_yaml = reader.take_text("|");
  result.environment.facts[reader.take_text("|")] = reader.take_text("|");
  result.skipped.push_back({{{"axis", reader.take_text("|")}}, reader.take_text("|")});
  for (std::size_t i = 0; i < kEngines; ++i) {
    result.engines.push_back(take_engine(reader, i));
    EventLog log;
    log.requests.resize(kRequests);
    for (RequestRecord& request : log.requests) request.finished = reader.take<std::int64_t>();
    result.logs.push_back({std::move(log)});
  }
  result.digests.resize(1);
  result.comparisons.push_back({result.engines[0].point, "output_tokens_per_s",
                                result.engines[0].info.label, result.engines[1].info.label,
                                take_estimate(reader)});
  return result;
}

// The text as JSON can hold it: what is no UTF-8 is replaced.
std::string held(const std::string& text) {
  const auto handler = nlohmann::json::error_handler_t::replace;
  return nlohmann::json::parse(nlohmann::json(text).dump(-1, ' ', false, handler));
}

void check_json(const ExperimentResult& result) {
  const Result<std::string> text = render_results_json(result);
  KVRM_CHECK(text.has_value());
  const nlohmann::json json = nlohmann::json::parse(*text);
  KVRM_CHECK_EQ(json["schema"], "kvrm.results/1");
  KVRM_CHECK_EQ(json["experiment"]["name"], held(result.name));
  KVRM_CHECK_EQ(json["experiment"]["question"], held(result.question));
  KVRM_CHECK_EQ(json["experiment"]["resolved_yaml"], held(result.resolved_yaml));
  KVRM_CHECK_EQ(json["engines"].size(), result.engines.size());
  for (std::size_t i = 0; i < result.engines.size(); ++i) {
    const EngineResult& engine = result.engines[i];
    KVRM_CHECK_EQ(json["engines"][i]["name"], held(engine.info.label));
    KVRM_CHECK_EQ(json["engines"][i]["status"], run_status_name(engine.status));
    KVRM_CHECK_EQ(json["engines"][i].contains("metrics"), carries_metrics(engine.status));
  }
  const Result<std::string> environment = render_environment_json(result);
  KVRM_CHECK(environment && nlohmann::json::parse(*environment).size() == 1);
}

// Fields of a CSV text by RFC 4180, row by row.
std::vector<std::vector<std::string>> parse_csv(const std::string& text) {
  std::vector<std::vector<std::string>> rows(1, {""});
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string& field = rows.back().back();
    if (quoted && text[i] == '"' && i + 1 < text.size() && text[i + 1] == '"') {
      field += text[++i];
    } else if (text[i] == '"') {
      quoted = !quoted;
    } else if (!quoted && text[i] == ',') {
      rows.back().emplace_back();
    } else if (!quoted && text[i] == '\n') {
      rows.push_back({""});
    } else {
      field += text[i];
    }
  }
  KVRM_CHECK(!quoted);
  rows.pop_back();  // what follows the last line's end
  return rows;
}

void check_csv(const ExperimentResult& result) {
  const Result<std::string> text = render_requests_csv(result);
  KVRM_CHECK(text.has_value());
  const auto rows = parse_csv(*text);
  KVRM_CHECK_EQ(rows.size(), 1 + kEngines * kRequests);
  for (std::size_t i = 1; i < rows.size(); ++i) {
    const EngineResult& engine = result.engines[(i - 1) / kRequests];
    const auto& [axis, value] = *engine.point.begin();
    KVRM_CHECK_EQ(rows[i].size(), rows[0].size());
    KVRM_CHECK_EQ(rows[i][0], axis + "=" + value);
    KVRM_CHECK_EQ(rows[i][1], engine.info.label);
    if (!carries_metrics(engine.status)) KVRM_CHECK(rows[i].back().empty());
  }
}

}  // namespace

FuzzOutcome fuzz_reports(FuzzBytes input) {
  FuzzReader reader(input);
  const ExperimentResult result = take_result(reader);
  check_json(result);
  check_csv(result);
  KVRM_CHECK(render_summary_markdown(result).has_value());
  KVRM_CHECK(!render_table(result, false).empty());
  return FuzzOutcome::accepted;
}

}  // namespace kvrm
