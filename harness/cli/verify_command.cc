// kvrm verify EXPERIMENT.yaml: every engine against the oracle, every request, token for token,
// nothing timed.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "harness/cli/command.h"
#include "harness/cli/terminal.h"
#include "harness/driver/exit_code.h"
#include "harness/driver/verify_experiment.h"

namespace kvrm {
namespace {

std::string point_name(const std::map<std::string, std::string>& point) {
  std::string name;
  for (const auto& [axis, value] : point)
    name += fmt::format("{}{}={}", name.empty() ? "" : " ", axis, value);
  return name.empty() ? "-" : name;
}

void print_shadow(const ShadowError& shadow) {
  fmt::print(
      "  against exact attention, {} outputs: error {:.2g} (max {:.2g}), bound {:.2g} ({:.2g}), "
      "error/bound at most {:.2g}\n",
      shadow.outputs, shadow.error_mean(), shadow.error_max, shadow.bound_mean(), shadow.bound_max,
      shadow.error_over_bound_max);
}

nlohmann::ordered_json shadow_json(const ShadowError& shadow) {
  return {{"outputs", shadow.outputs},     {"error_mean", shadow.error_mean()},
          {"error_max", shadow.error_max}, {"bound_mean", shadow.bound_mean()},
          {"bound_max", shadow.bound_max}, {"error_over_bound_max", shadow.error_over_bound_max}};
}

void print_replay(const ReplayCheck& replay) {
  fmt::print("descriptor log: {} steps replayed, {} requests of {}: output digest {:016x}, {}\n",
             replay.steps, replay.requests, replay.engine, replay.replayed_digest,
             replay.agrees() ? "the same"
                             : fmt::format("NOT {:016x}, that of the run", replay.expected_digest));
}

void print_text(const VerifyReport& report) {
  fmt::print("{:<22} {:<30} {:<11} {:>8} {:>9} {:>9} {:>11}\n", "engine", "point", "status",
             "requests", "tokens", "near ties", "error max");
  for (const EngineVerification& engine : report.engines) {
    fmt::print("{:<22} {:<30} {:<11} {:>8} {:>9} {:>9} {:>11.2e}\n", engine.label,
               point_name(engine.point), run_status_name(engine.status), engine.requests_checked,
               engine.tokens_checked, engine.near_ties, engine.error_max);
    if (!engine.reason.empty()) fmt::print("  {}\n", engine.reason);
    if (engine.follows_rule) print_shadow(engine.shadow);
  }
  if (report.replay) print_replay(*report.replay);
  for (const SkippedPoint& skipped : report.skipped) {
    fmt::print("skipped {}: {}\n", point_name(skipped.point), skipped.reason);
  }
}

nlohmann::ordered_json to_json(const VerifyReport& report) {
  nlohmann::ordered_json json;
  json["engines"] = nlohmann::ordered_json::array();
  for (const EngineVerification& engine : report.engines) {
    json["engines"].push_back({{"point", engine.point},
                               {"name", engine.label},
                               {"status", run_status_name(engine.status)},
                               {"reason", engine.reason},
                               {"requests_checked", engine.requests_checked},
                               {"requests_refused", engine.requests_refused},
                               {"tokens_checked", engine.tokens_checked},
                               {"near_ties", engine.near_ties},
                               {"error_max", engine.error_max}});
    if (engine.follows_rule) json["engines"].back()["far_history"] = shadow_json(engine.shadow);
  }
  if (report.replay) {
    json["replay"] = {{"engine", report.replay->engine},
                      {"steps", report.replay->steps},
                      {"requests", report.replay->requests},
                      {"output_digest", fmt::format("{:016x}", report.replay->replayed_digest)},
                      {"agrees", report.replay->agrees()}};
  }
  json["skipped"] = nlohmann::ordered_json::array();
  for (const SkippedPoint& skipped : report.skipped) {
    json["skipped"].push_back({{"point", skipped.point}, {"reason", skipped.reason}});
  }
  json["interrupted"] = report.interrupted;
  return json;
}

class VerifyCommand final : public Command {
 public:
  VerifyCommand(CLI::App& parent, const Registry& registry)
      : Command(parent, "verify", "check every output of every engine against the oracle, untimed"),
        registry_(registry) {
    add_experiment_options(app(), options_);
    CLI::Option& log =
        *app()
             .add_option("--descriptor-log", descriptor_log_,
                         "replay this log of `kvrm run --descriptor-log` and compare its outputs; "
                         "without an experiment: the log's own")
             ->check(CLI::ExistingFile);
    app().add_flag("--dump", dump_, "print the log's records as text instead")->needs(&log);
    app().add_flag("--json", json_, "print only JSON");
    app().add_flag("--quiet", quiet_, "no progress");
  }

 private:
  int do_run() override {
    if (dump_) return dump();
    const Result<Experiment> experiment = load();
    if (!experiment) return report_error(experiment.error());
    if (const Status loggable = check_loggable(descriptor_log_, *experiment, registry_); !loggable)
      return report_error(loggable.error());
    const Result<VerifyReport> report = check(*experiment);
    if (!report) return report_error(report.error());
    if (json_) {
      fmt::print("{}\n", to_json(*report).dump(2));
    } else {
      print_text(*report);
    }
    return static_cast<int>(exit_code_of(*report));
  }

  Result<Experiment> load() {
    if (!options_.file.empty()) return load_experiment(options_, registry_);
    if (descriptor_log_.empty()) return bad_input("verify: EXPERIMENT is missing");
    const Result<std::string> text = registry_.experiment_of_log(descriptor_log_);
    if (!text) return tl::unexpected(text.error());
    ExperimentOptions logged = options_;
    logged.file = descriptor_log_;
    logged.text = *text;
    return load_experiment(logged, registry_);
  }

  int dump() const {
    const Result<std::string> text = registry_.dump_log(descriptor_log_);
    if (!text) return report_error(text.error());
    fmt::print("{}", *text);
    return 0;
  }

  Result<VerifyReport> check(const Experiment& experiment) const {
    const InterruptGuard interrupt;
    ProgressBar bar(quiet_ || json_);
    RunOptions options;
    options.stop = &interrupt.flag();
    options.descriptor_log = descriptor_log_;
    options.progress = [&bar](const RunProgress& progress) {
      const auto runs = static_cast<double>(std::max<std::size_t>(progress.runs, 1));
      bar.update(static_cast<double>(progress.run) / runs, progress.engine);
    };
    return verify_experiment(experiment, registry_, options);
  }

  const Registry& registry_;
  ExperimentOptions options_;
  std::string descriptor_log_;
  bool dump_ = false;
  bool json_ = false;
  bool quiet_ = false;
};

}  // namespace

std::unique_ptr<Command> make_verify_command(CLI::App& app, const Registry& registry) {
  return std::make_unique<VerifyCommand>(app, registry);
}

}  // namespace kvrm
