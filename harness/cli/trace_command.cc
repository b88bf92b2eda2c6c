// kvrm trace FILE: exact facts of a trace.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "harness/cli/command.h"
#include "harness/result/trace_summary.h"

namespace kvrm {
namespace {

void print_quantiles(const char* name, const std::map<std::string, std::uint64_t>& quantiles,
                     double mean) {
  for (const char* quantile : {"p0", "p50", "p90", "p95", "p99", "p100"}) {
    fmt::print("{} {} {}\n", name, quantile, quantiles.at(quantile));
  }
  fmt::print("{} mean {:.3f}\n", name, mean);
}

void print_text(const TraceSummary& summary) {
  fmt::print("format {}\nrows {}\nduration_s {:.3f}\nrate_per_s {:.4f}\n", summary.format,
             summary.rows, summary.duration_s, summary.rate_per_s);
  print_quantiles("prompt", summary.prompt_tokens, summary.prompt_mean);
  print_quantiles("output", summary.output_tokens, summary.output_mean);
  for (const auto& [window, count] : summary.peak_arrivals)
    fmt::print("peak_arrivals {}s {}\n", window, count);
  for (const auto& [window, index] : summary.dispersion)
    fmt::print("dispersion {}s {:.3f}\n", window, index);
  if (summary.prefix_block_hit_ratio)
    fmt::print("prefix_block_hit_ratio {:.5f}\n", *summary.prefix_block_hit_ratio);
}

nlohmann::ordered_json to_json(const TraceSummary& summary) {
  nlohmann::ordered_json json;
  json["format"] = summary.format;
  json["rows"] = summary.rows;
  json["duration_s"] = summary.duration_s;
  json["rate_per_s"] = summary.rate_per_s;
  json["prompt_tokens"] = summary.prompt_tokens;
  json["prompt_tokens"]["mean"] = summary.prompt_mean;
  json["output_tokens"] = summary.output_tokens;
  json["output_tokens"]["mean"] = summary.output_mean;
  for (const auto& [window, count] : summary.peak_arrivals) {
    json["peak_arrivals"][fmt::format("{}s", window)] = count;
  }
  for (const auto& [window, index] : summary.dispersion) {
    json["index_of_dispersion"][fmt::format("{}s", window)] = index;
  }
  if (summary.prefix_block_hit_ratio)
    json["prefix_block_hit_ratio"] = *summary.prefix_block_hit_ratio;
  return json;
}

class TraceCommand final : public Command {
 public:
  TraceCommand(CLI::App& parent, const Registry& registry)
      : Command(parent, "trace", "facts of a trace: rows, quantiles, arrival rate, burstiness"),
        registry_(registry) {
    app().add_option("file", file_, "trace file")->required();
    app().add_option("--format", format_, "auto, plain, azure, burstgpt or mooncake");
    app().add_flag("--json", json_, "print only JSON");
  }

 private:
  int do_run() override {
    const Result<TraceSummary> summary = registry_.summarise_trace(file_, format_);
    if (!summary) return report_error(summary.error());
    if (json_) {
      fmt::print("{}\n", to_json(*summary).dump(2));
    } else {
      print_text(*summary);
    }
    return 0;
  }

  const Registry& registry_;
  std::string file_;
  std::string format_ = "auto";
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> make_trace_command(CLI::App& app, const Registry& registry) {
  return std::make_unique<TraceCommand>(app, registry);
}

}  // namespace kvrm
