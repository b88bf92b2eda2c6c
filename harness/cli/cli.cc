#include "harness/cli/cli.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "harness/cli/command.h"
#include "harness/config/diagnose.h"

namespace kvrm {
namespace {

// CLI11 has its own exit codes; ours has one for every mistake in the arguments.
int finish_parse(const CLI::App& app, const CLI::ParseError& error) {
  return app.exit(error, std::cout, std::cerr) == 0 ? 0 : static_cast<int>(ExitCode::bad_input);
}

// CLI11 says of an unknown command only that one is required.
Status check_command_name(int argc, char** argv, const CLI::App& app) {
  if (argc < 2 || argv[1][0] == '-') return {};
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  const std::string name = argv[1];
  if (std::find(names.begin(), names.end(), name) != names.end()) return {};
  return bad_input(fmt::format("found no command \"{}\", allowed: {}{}", name, join_names(names),
                               nearest_name_hint(name, names)));
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
  if (const Status known = check_command_name(argc, argv, app); !known) {
    return report_error(known.error());
  }
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
