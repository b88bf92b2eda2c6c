// What the commands share: how they are added to the parser, and the options that name an
// experiment.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <memory>
#include <string>
#include <vector>

#include "harness/config/parse.h"
#include "harness/driver/registry.h"

namespace kvrm {

// One subcommand: adds itself and its options to the parser when made, runs after parsing when it
// was chosen.
class Command {
 public:
  virtual ~Command() = default;
  bool chosen() const { return app_->parsed(); }
  // The exit code.
  int run() { return do_run(); }

 protected:
  Command(CLI::App& parent, const std::string& name, const std::string& description)
      : app_(parent.add_subcommand(name, description)) {}
  CLI::App& app() { return *app_; }

 private:
  virtual int do_run() = 0;

  CLI::App* app_;
};

std::unique_ptr<Command> make_run_command(CLI::App& app, const Registry& registry);
std::unique_ptr<Command> make_verify_command(CLI::App& app, const Registry& registry);
std::unique_ptr<Command> make_generate_command(CLI::App& app, const Registry& registry);
std::unique_ptr<Command> make_trace_command(CLI::App& app, const Registry& registry);
std::unique_ptr<Command> make_doctor_command(CLI::App& app, const Registry& registry);

// EXPERIMENT.yaml and what may be changed from the command line.
struct ExperimentOptions {
  std::string file;
  std::string text;  // where not empty: read instead of the file, under its name
  std::vector<std::string> engines;
  std::vector<std::string> overrides;
  std::string backend;
  std::string profile;
  std::uint32_t repeats = 0;  // 0: as in the file
};

// Gives the option of EXPERIMENT.yaml.
CLI::Option& add_experiment_options(CLI::App& command, ExperimentOptions& options);
Result<Experiment> load_experiment(const ExperimentOptions& options, const Registry& registry);

// Whether a descriptor log that was asked for (not empty) has an engine that could write it.
Status check_loggable(const std::string& descriptor_log, const Experiment& experiment,
                      const Registry& registry);

// Prints "error: MESSAGE" on standard error and gives the exit code.
int report_error(const Error& error);

}  // namespace kvrm
