#include "harness/cli/command.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cstdio>

#include "harness/driver/replay_check.h"
#include "harness/metrics/columns.h"

namespace kvrm {

CLI::Option& add_experiment_options(CLI::App& command, ExperimentOptions& options) {
  CLI::Option* file =
      command.add_option("experiment", options.file, "experiment YAML (docs/experiments.md)");
  command
      .add_option("--engine", options.engines,
                  "only these engines, by kind or label; may be repeated")
      ->allow_extra_args(false);
  command
      .add_option("--set", options.overrides,
                  "key.path=value, over what the file says; may be repeated")
      ->allow_extra_args(false);
  command.add_option("--backend", options.backend, "backend.kind");
  command.add_option("--profile", options.profile, "backend.profile");
  return *file;
}

Result<Experiment> load_experiment(const ExperimentOptions& options, const Registry& registry) {
  ParseRequest request;
  request.file = options.file;
  request.text = options.text;
  request.overrides = options.overrides;
  if (!options.backend.empty()) request.overrides.push_back("backend.kind=" + options.backend);
  if (!options.profile.empty()) request.overrides.push_back("backend.profile=" + options.profile);
  if (options.repeats > 0)
    request.overrides.push_back(fmt::format("driver.repeats={}", options.repeats));
  request.only_engines = options.engines;
  for (const EngineEntry& entry : registry.engines) request.engine_kinds.push_back(entry.kind);
  for (const BackendEntry& entry : registry.backends) request.backend_kinds.push_back(entry.kind);
  request.metric_columns = metric_column_names();
  return parse_experiment(request);
}

Status check_loggable(const std::string& descriptor_log, const Experiment& experiment,
                      const Registry& registry) {
  if (descriptor_log.empty() || logging_engine(experiment.points.front(), registry)) return {};
  return bad_input(fmt::format("--descriptor-log: no engine of {} has step descriptors",
                               experiment.axes.empty() ? "this experiment" : "the first point"));
}

int report_error(const Error& error) {
  fmt::print(stderr, "error: {}\n", error.message);
  return static_cast<int>(error.code);
}

}  // namespace kvrm
