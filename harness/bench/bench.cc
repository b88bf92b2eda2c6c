#include "harness/bench/bench.h"

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <iostream>
#include <map>

namespace kvrm {
namespace {

std::string case_name(const BenchCase& bench) {
  return fmt::format("{}/{}/{}/{}", bench.suite, bench.design, bench.shape, bench.threads);
}

// Collects the time of every repetition by case name; prints nothing.
class Collector final : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.run_type == Run::RT_Iteration)
        times_[run.run_name.function_name].push_back(run.GetAdjustedRealTime());
    }
  }
  const std::vector<double>& times(const std::string& name) { return times_[name]; }

 private:
  std::map<std::string, std::vector<double>> times_;
};

BenchRow make_row(const BenchCase& bench, std::vector<double> times) {
  BenchRow row;
  row.suite = bench.suite;
  row.design = bench.design;
  row.shape = bench.shape;
  row.threads = bench.threads;
  row.repetitions = static_cast<std::uint32_t>(times.size());
  std::sort(times.begin(), times.end());
  if (times.empty()) return row;
  const MedianRanks ranks = median_interval_ranks(row.repetitions);
  row.ns_per_op = times[times.size() / 2];
  row.ns_per_op_low = times[ranks.low];
  row.ns_per_op_high = times[ranks.high];
  return row;
}

struct BenchOptions {
  std::string suite;
  bool json = false;
  bool tiny = false;
  BenchRun run;
};

const BenchSuite* find_suite(const std::vector<BenchSuite>& suites, const std::string& name) {
  const auto found = std::find_if(suites.begin(), suites.end(),
                                  [&](const BenchSuite& suite) { return suite.name == name; });
  return found == suites.end() ? nullptr : &*found;
}

int run_and_print(const BenchOptions& options, const Registry& registry,
                  const std::vector<BenchSuite>& suites) {
  const BenchSuite* suite = find_suite(suites, options.suite);
  if (suite == nullptr) {
    std::string names;
    for (const BenchSuite& known : suites) names += " " + known.name;
    fmt::print(stderr, "error: --suite: no suite \"{}\"; there are:{}\n", options.suite, names);
    return static_cast<int>(ExitCode::bad_input);
  }
  BenchRun run = options.run;
  run.size = options.tiny ? BenchSize::tiny : BenchSize::full;
  const auto report = run_suite(*suite, registry, run);
  if (!report) {
    fmt::print(stderr, "error: {}\n", report.error().message);
    return static_cast<int>(report.error().code);
  }
  fmt::print("{}\n", options.json ? report_to_json(*report) : report_to_table(*report));
  return 0;
}

void add_options(CLI::App& app, BenchOptions& options, const std::vector<BenchSuite>& suites) {
  std::string suite_help = "one of:";
  for (const BenchSuite& suite : suites)
    suite_help += fmt::format(" {} ({})", suite.name, suite.description);
  app.add_option("--suite", options.suite, suite_help)->required();
  app.add_flag("--json", options.json, "print only JSON");
  app.add_option("--repetitions", options.run.repetitions,
                 "of every case, in random interleaved order")
      ->check(CLI::Range(1, 1000));
  app.add_flag("--tiny", options.tiny, "the small size that the unit tests run");
  const std::string which = "attention, transport and decoder: ";
  app.add_option("--threads", options.run.threads,
                 which + "worker counts, one after the other (default: 1,2)")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024));
  app.add_option("--shapes", options.run.shapes, which + "only these shapes")->delimiter(',');
  app.add_option("--kernels", options.run.kernels, which + "kernel target (default: the best)");
}

}  // namespace

std::vector<BenchRow> run_cases(const std::vector<BenchCase>& cases, std::uint32_t repetitions) {
  std::string program = "kvrm_bench";
  std::string interleave = "--benchmark_enable_random_interleaving=true";
  std::array<char*, 2> arguments = {program.data(), interleave.data()};
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  benchmark::ClearRegisteredBenchmarks();
  for (const BenchCase& bench : cases) {
    benchmark::RegisterBenchmark(case_name(bench).c_str(),
                                 [&bench](benchmark::State& state) {
                                   for (auto _ : state) {
                                     const BenchSample sample = bench.measure();
                                     state.SetIterationTime(static_cast<double>(sample.elapsed) *
                                                            1e-9 /
                                                            static_cast<double>(sample.operations));
                                   }
                                 })
        ->UseManualTime()
        ->Iterations(1)
        ->Repetitions(static_cast<int>(repetitions))
        ->Unit(benchmark::kNanosecond);
  }
  Collector collector;
  benchmark::RunSpecifiedBenchmarks(&collector);
  std::vector<BenchRow> rows;
  for (const BenchCase& bench : cases)
    rows.push_back(make_row(bench, collector.times(case_name(bench))));
  return rows;
}

MedianRanks median_interval_ranks(std::uint32_t count) {
  if (count < 6) return {.low = count / 2, .high = count / 2};
  // P(the median lies below the k-th smallest) = P(Binomial(count, 1/2) < k): the largest k
  // with 2.5% or less a side.
  double cumulative = 0;
  double term = 1;
  for (std::uint32_t i = 0; i < count; ++i) term /= 2;
  std::uint32_t low = 0;
  for (std::uint32_t k = 0; k < count / 2; ++k) {
    cumulative += term;
    if (cumulative > 0.025) break;
    low = k;
    term = term * (count - k) / (k + 1);
  }
  return {.low = low, .high = count - 1 - low};
}

Result<BenchReport> run_suite(const BenchSuite& suite, const Registry& registry,
                              const BenchRun& run) {
  if (suite.measure) return suite.measure(registry, run);
  const auto cases = suite.cases(registry, run.size);
  if (!cases) return tl::unexpected(cases.error());
  return BenchReport{.rows = run_cases(*cases, run.repetitions), .skipped = {}};
}

int run_bench(int argc, char** argv, const Registry& registry,
              const std::vector<BenchSuite>& suites) {
  CLI::App app("kvrm_bench: micro-benchmarks of kvrm's parts", "kvrm_bench");
  app.set_version_flag("--version", "kvrm_bench " + registry.version);
  BenchOptions options;
  add_options(app, options, suites);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error, std::cout, std::cerr) == 0 ? 0 : static_cast<int>(ExitCode::bad_input);
  }
  return run_and_print(options, registry, suites);
}

}  // namespace kvrm
