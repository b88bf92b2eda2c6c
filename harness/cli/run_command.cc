// kvrm run EXPERIMENT.yaml: measures every engine, verifies every output, writes the results
// directory.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "harness/cli/command.h"
#include "harness/cli/terminal.h"
#include "harness/driver/exit_code.h"
#include "harness/driver/run_experiment.h"
#include "harness/result/results_directory.h"

namespace kvrm {
namespace {

double share_done(const RunProgress& progress) {
  const double within = progress.expected_requests == 0
                            ? 0
                            : static_cast<double>(progress.drive.ended) /
                                  static_cast<double>(progress.expected_requests);
  return (static_cast<double>(progress.run) + std::min(within, 1.0)) /
         static_cast<double>(std::max<std::size_t>(progress.runs, 1));
}

class RunCommand final : public Command {
 public:
  RunCommand(CLI::App& parent, const Registry& registry)
      : Command(parent, "run", "run an experiment: verified outputs, metrics, a results directory"),
        registry_(registry) {
    add_experiment_options(app(), options_).required();
    app().add_option("--out", out_, "results directory; default results/NAME-TIME");
    app()
        .add_option("--repeats", options_.repeats, "driver.repeats")
        ->check(CLI::Range(1U, 10'000U));
    app().add_option("--descriptor-log", descriptor_log_,
                     "log the step descriptors of the first engine that has them, first repeat");
    app().add_flag("--json", json_, "print results.json and nothing else on standard output");
    app().add_flag("--quiet", quiet_, "no progress, no table");
  }

 private:
  int do_run() override {
    const Result<Experiment> experiment = load_experiment(options_, registry_);
    if (!experiment) return report_error(experiment.error());
    if (const Status loggable = check_loggable(descriptor_log_, *experiment, registry_); !loggable)
      return report_error(loggable.error());
    const std::filesystem::path directory =
        out_.empty() ? default_results_directory(experiment->name) : out_;
    if (const Status writable = prepare_results_directory(directory); !writable)
      return report_error(writable.error());
    const Result<ExperimentResult> result = measure(*experiment);
    if (!result) {
      std::error_code ignored;
      std::filesystem::remove(directory, ignored);  // only where it is empty
      return report_error(result.error());
    }
    return finish(*result, directory);
  }

  Result<ExperimentResult> measure(const Experiment& experiment) const {
    const InterruptGuard interrupt;
    ProgressBar bar(quiet_ || json_);
    RunOptions options;
    options.stop = &interrupt.flag();
    options.descriptor_log = descriptor_log_;
    options.progress = [&bar](const RunProgress& progress) {
      bar.update(share_done(progress),
                 fmt::format("{} repeat {}", progress.engine, progress.repeat + 1));
    };
    return run_experiment(experiment, registry_, options);
  }

  int finish(const ExperimentResult& result, const std::filesystem::path& directory) const {
    std::vector<ResultFile> files;
    for (const WriterEntry& writer : registry_.writers) {
      Result<std::string> content = writer.render(result);
      if (!content) return report_error(content.error());
      if (json_ && writer.file_name == "results.json") fmt::print("{}\n", *content);
      files.push_back({.name = writer.file_name, .content = std::move(*content)});
    }
    if (const Status written = write_results_directory(directory, files); !written) {
      return report_error(written.error());
    }
    if (!json_ && !quiet_) {
      fmt::print("{}\nResults: {}\n", registry_.render_table(result, use_color()),
                 directory.string());
    }
    return static_cast<int>(exit_code_of(result));
  }

  const Registry& registry_;
  ExperimentOptions options_;
  std::filesystem::path out_;
  std::string descriptor_log_;
  bool json_ = false;
  bool quiet_ = false;
};

}  // namespace

std::unique_ptr<Command> make_run_command(CLI::App& app, const Registry& registry) {
  return std::make_unique<RunCommand>(app, registry);
}

}  // namespace kvrm
