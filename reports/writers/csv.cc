#include <fmt/format.h>

#include <iterator>

#include "harness/base/units.h"
#include "reports/writers/writers.h"

namespace kvrm {
namespace {

constexpr const char* kRequestColumns =
    "point,engine,repeat,request,state,prompt_tokens,output_budget,output_tokens,preemptions,"
    "recomputed_tokens,output_digest,intended_arrival_ns,enqueued_ns,admitted_ns,first_token_ns,"
    "finished_ns\n";
constexpr const char* kStepColumns =
    "point,engine,repeat,step,active_slots,prefill_tokens,waiting_requests,reserved_bytes,"
    "allocated_bytes,live_bytes,staging_bytes,graph_bytes,metadata_bytes,groups,moved_bytes,"
    "start_ns,end_ns,plan_ns,commit_ns,replay_ns,sample_ns,prefill_ns,hidden_host_ns,"
    "exposed_host_ns\n";

std::string csv_text(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"') result += '"';
    result += c;
  }
  return result + '"';
}

std::string point_field(const std::map<std::string, std::string>& point) {
  std::string text;
  for (const auto& [axis, value] : point) {
    text += fmt::format("{}{}={}", text.empty() ? "" : ";", axis, value);
  }
  return csv_text(text);
}

// Empty for what never happened and for runs that may not show times.
std::string time_field(Nanoseconds time, bool with_times) {
  return with_times && time >= 0 ? std::to_string(time) : "";
}

void append_row(std::string& out, const RequestRecord& row, std::size_t, bool with_times) {
  const auto time = [&](Nanoseconds value) { return time_field(value, with_times); };
  fmt::format_to(std::back_inserter(out), "{},{},{},{},{},{},{},{:016x},{},{},{},{},{}\n", row.id,
                 request_state_name(row.state), row.prompt_tokens, row.output_budget,
                 row.output_tokens, row.preemptions, row.recomputed_tokens, row.output_digest,
                 time(row.intended_arrival), time(row.enqueued), time(row.admitted),
                 time(row.first_token), time(row.finished));
}

void append_row(std::string& out, const StepRecord& row, std::size_t index, bool with_times) {
  const auto time = [&](Nanoseconds value) { return time_field(value, with_times); };
  const MemoryUsage& memory = row.memory;
  fmt::format_to(std::back_inserter(out), "{},{},{},{},{},{},{},{},{},{},{},{},", index,
                 row.active_slots, row.prefill_tokens, row.waiting_requests, memory.reserved_bytes,
                 memory.allocated_bytes, memory.live_bytes, memory.staging_bytes,
                 memory.graph_bytes, memory.metadata_bytes, row.groups, row.moved_bytes);
  fmt::format_to(std::back_inserter(out), "{},{},{},{},{},{},{},{},{}\n", time(row.start),
                 time(row.end), time(row.phases.plan), time(row.phases.commit),
                 time(row.phases.replay), time(row.phases.sample), time(row.prefill),
                 time(row.hidden_host), time(row.exposed_host));
}

template <class Row>
std::string render_rows(const ExperimentResult& result, RowDetail detail, const char* columns,
                        std::vector<Row> EventLog::*rows) {
  if (detail == RowDetail::none) return {};
  std::string out = columns;
  for (std::size_t i = 0; i < result.engines.size() && i < result.logs.size(); ++i) {
    const EngineResult& engine = result.engines[i];
    const std::string prefix = point_field(engine.point) + "," + csv_text(engine.info.label);
    for (const EventLog& log : result.logs[i]) {
      const std::vector<Row>& all = log.*rows;
      const std::size_t stride = detail == RowDetail::all ? 1 : divide_up(all.size(), kSampledRows);
      for (std::size_t row = 0; row < all.size(); row += stride) {
        out += prefix + "," + std::to_string(log.repeat) + ",";
        append_row(out, all[row], row, carries_metrics(engine.status));
      }
    }
  }
  return out;
}

}  // namespace

Result<std::string> render_requests_csv(const ExperimentResult& result) {
  return render_rows(result, result.output.requests, kRequestColumns, &EventLog::requests);
}

Result<std::string> render_steps_csv(const ExperimentResult& result) {
  return render_rows(result, result.output.steps, kStepColumns, &EventLog::steps);
}

}  // namespace kvrm
