// The program `kvrm_sim`: a swarm of simulated worlds, one of them again, or a file of those that
// failed once.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>
#include <exception>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "property_tests/simulation/shrink.h"
#include "property_tests/simulation/swarm.h"

namespace kvrm::simulation {
namespace {

constexpr int kViolated = static_cast<int>(ExitCode::incorrect);
constexpr int kBadUsage = static_cast<int>(ExitCode::bad_input);
constexpr std::uint64_t kShrinkRuns = 600;

struct Options {
  SwarmOptions swarm;
  WorldPart part;
  bool one_world = false;
  bool json = false;
  bool trace = false;
  bool shrink = false;
  std::string seeds_file;
  std::string skip;
  std::vector<std::string> without;
};

void add_options(CLI::App& app, Options& options) {
  static const std::map<std::string, Canary> kCanaries{{"lost_copy", Canary::lost_copy},
                                                       {"image_bit", Canary::image_bit}};
  app.add_option("--seed", options.swarm.seed, "of the swarm");
  app.add_option("--seconds", options.swarm.seconds, "no world begins later")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--worlds", options.swarm.worlds, "at least so many");
  app.add_option("--threads", options.swarm.threads, "worlds at a time")
      ->check(CLI::Range(1U, 256U));
  app.add_flag("--json", options.json, "only JSON on standard output");
  app.add_option("--seeds", options.seeds_file, "runs each line of a file: arguments as below");
  app.add_option("--world", options.part.world, "one world, by its own seed");
  app.add_option("--commands", options.part.commands, "of that world, at most");
  app.add_option("--skip", options.skip, "commands left out: first-last,...");
  app.add_option("--without", options.without, "engines, features and faults left out")
      ->delimiter(',')
      ->check(CLI::IsMember(all_part_names()));
  app.add_flag("--trace", options.trace, "prints every command that does something");
  app.add_flag("--shrink", options.shrink, "makes the failing world smaller");
  app.add_option("--canary", options.part.canary, "a device that is broken on purpose")
      ->transform(CLI::CheckedTransformer(kCanaries));
}

bool parse_skip(const std::string& text, WorldPart& part) {
  std::istringstream words(text);
  for (std::string word; std::getline(words, word, ',');) {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    if (std::sscanf(word.c_str(), "%lu-%lu", &first, &last) != 2) return false;
    part.skipped.emplace_back(first, last);
  }
  return true;
}

// The exit code where the arguments are wrong or only help was asked for.
std::optional<int> parse(std::vector<std::string> words, Options& options) {
  CLI::App app("Simulates engines on failing devices and checks every step.", "kvrm_sim");
  add_options(app, options);
  std::reverse(words.begin(), words.end());
  try {
    app.parse(words);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kBadUsage;
  }
  options.one_world = app.count("--world") > 0;
  options.swarm.canary = options.part.canary;
  options.part.without = {options.without.begin(), options.without.end()};
  if (parse_skip(options.skip, options.part)) return std::nullopt;
  fmt::print(stderr, "--skip: {} is not first-last,...\n", options.skip);
  return kBadUsage;
}

// What a crash hands over to: this program, shrinking the world that this thread is in.
struct CrashPlan {
  std::string world;
  bool json = false;
};
thread_local CrashPlan crash_plan;

// Only calls that a signal handler may make.
void shrink_after_crash(int number) {
  signal(number, SIG_DFL);
  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_UNBLOCK, &all, nullptr);
  std::array<const char*, 8> words{"kvrm_sim", "--shrink", "--world", crash_plan.world.c_str()};
  std::size_t count = 4;
  if (crash_plan.json) words[count++] = "--json";
  execve("/proc/self/exe", const_cast<char* const*>(words.data()), environ);
  raise(number);
}

// A crash of a world that is run alone is a violation like any other; what it says was printed.
void end_violated(int) { _exit(kViolated); }

void crashes_call(void (*handler)(int)) {
  signal(SIGABRT, handler);
  signal(SIGSEGV, handler);
}

void report(const WorldPart& part, const std::string& violation) {
  fmt::print(stderr, "violation: {}\nreproduce: kvrm_sim {}\n", violation, part.arguments());
}

int run_world(const WorldPart& part, const Registry& registry, bool trace) {
  World world(part, registry, {.thorough = true, .trace = trace});
  if (trace) fmt::print(stderr, "world: {}\n", world.spec().describe());
  world.run();
  if (world.violation().empty()) return 0;
  report(part, fmt::format("{} (command {})", world.violation(), world.failed_command()));
  return kViolated;
}

// A violation is reported, made smaller, and its commands printed.
int shrink_and_report(const WorldPart& part, const Registry& registry) {
  const Shrunk shrunk = shrink(part, kShrinkRuns);
  if (!shrunk.fails) {
    fmt::print(stderr, "violation: not met again: kvrm_sim {}\n", part.arguments());
    return kViolated;
  }
  fmt::print(stderr, "shrunk to {} commands in {} runs\nreproduce: kvrm_sim {}\n", shrunk.commands,
             shrunk.runs, shrunk.part.arguments());
  std::fflush(stderr);
  return run_world(shrunk.part, registry, true);
}

int run_seeds(const std::string& file, const Registry& registry) {
  std::ifstream in(file);
  if (!in) {
    fmt::print(stderr, "{}: cannot be read\n", file);
    return kBadUsage;
  }
  int worst = 0;
  std::uint64_t count = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line.front() == '#') continue;
    std::istringstream text(line);
    std::vector<std::string> words;
    for (std::string word; text >> word;) words.push_back(word);
    Options options;
    if (const auto code = parse(words, options)) return *code;
    worst = std::max(worst, run_world(options.part, registry, false));
    ++count;
  }
  fmt::print("{} worlds that failed once were run\n", count);
  return worst;
}

int run_swarm_and_report(const Options& options, const Registry& registry) {
  crashes_call(shrink_after_crash);
  const SwarmResult result = run_swarm(options.swarm, registry, [&](const WorldPart& part) {
    crash_plan = {fmt::format("{:#x}", part.world), options.json};
  });
  if (!options.json) {
    fmt::print("{}, seed {}, {} threads\n", registry.version, options.swarm.seed,
               options.swarm.threads);
  }
  fmt::print("{}\n", swarm_json(options.swarm, result, registry.version));
  std::fflush(stdout);
  if (!result.first) return 0;
  report(result.first->part, result.first->violation);
  crashes_call(end_violated);
  return shrink_and_report(result.first->part, registry);
}

int run_main(int argc, char** argv) {
  Options options;
  options.swarm.threads = std::max(1U, std::thread::hardware_concurrency());
  if (const auto code = parse({argv + 1, argv + argc}, options)) return *code;
  const Registry registry = make_registry();
  crashes_call(end_violated);
  if (!options.seeds_file.empty()) return run_seeds(options.seeds_file, registry);
  if (!options.one_world) return run_swarm_and_report(options, registry);
  if (!options.shrink) return run_world(options.part, registry, options.trace);
  if (options.json) fmt::print("{{\"commit\":\"{}\",\"violations\":1}}\n", registry.version);
  std::fflush(stdout);
  return shrink_and_report(options.part, registry);
}

}  // namespace
}  // namespace kvrm::simulation

int main(int argc, char** argv) {
  try {
    return kvrm::simulation::run_main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kvrm_sim: %s\n", error.what());
    return 3;
  }
}
