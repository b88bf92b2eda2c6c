#include "harness/cli/cli.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdio>
#include <iostream>

#include "harness/cli/command.h"

namespace kvrm {
namespace {

// CLI11 has its own exit codes; ours has one for every mistake in the arguments.
int finish_parse(const CLI::App& app, const CLI::ParseError& error) {
  return app.exit(error, std::cout, std::cerr) == 0 ? 0 : static_cast<int>(ExitCode::bad_input);
}

}  // namespace

int run_cli(int argc, char** argv, const Registry& registry) {
  CLI::App app("kvrm: measures and verifies KV-cache management in LLM decoding", "kvrm");
  app.set_version_flag("--version", "kvrm " + registry.version);
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 ok, 1 regression, 2 bad usage or input, 3 could not complete,\n"
      "4 ambiguous or invalid measurement, 5 incorrect output.");
  std::vector<std::unique_ptr<Command>> commands;
  commands.push_back(make_run_command(app, registry));
  commands.push_back(make_verify_command(app, registry));
  commands.push_back(make_generate_command(app, registry));
  commands.push_back(make_trace_command(app, registry));
  commands.push_back(make_doctor_command(app, registry));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return finish_parse(app, error);
  }
  for (const std::unique_ptr<Command>& command : commands) {
    if (command->chosen()) return command->run();
  }
  return static_cast<int>(ExitCode::bad_input);
}

}  // namespace kvrm
