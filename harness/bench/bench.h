// kvrm_bench: suites of micro-benchmarks, reported as rows of scalars. A suite is a list of cases
// run by Google Benchmark in random interleaved order, or measures itself in rounds (rounds.h);
// what a case does is its own business.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "harness/base/result.h"
#include "harness/base/units.h"
#include "harness/driver/registry.h"

namespace kvrm {

// How large the cases are: `tiny` runs in the unit tests, so that no suite rots.
enum class BenchSize : std::uint8_t { full, tiny };

struct BenchSample {
  Nanoseconds elapsed = 0;
  std::uint64_t operations = 0;  // at least 1
};

struct BenchCase {
  std::string suite;
  std::string design;
  std::string shape;
  std::uint32_t threads = 1;
  std::function<BenchSample()> measure;  // one repetition
};

struct BenchFigure {
  std::string name;
  double value = 0;
};

struct BenchRow {
  std::string suite;
  std::string design;
  std::string shape;
  std::uint32_t threads = 1;
  std::uint32_t repetitions = 0;
  // Median over repetitions, and its 95% interval by order statistics (both ends equal below six
  // repetitions).
  double ns_per_op = 0;
  double ns_per_op_low = 0;
  double ns_per_op_high = 0;
  std::vector<BenchFigure> figures;  // what else the suite reports, in order
};

// How a suite is run.
struct BenchRun {
  BenchSize size = BenchSize::full;
  std::uint32_t repetitions = 15;
  // Of suites that measure in rounds:
  std::vector<std::uint32_t> threads;  // empty: one and two, where there are so many cores
  std::vector<std::string> shapes;     // by name; empty: all
  std::string kernels = "auto";        // BackendSpec::kernels
};

struct BenchReport {
  std::vector<BenchRow> rows;
  std::vector<std::string> skipped;  // what was left out, and why
};

struct BenchSuite {
  std::string name;
  std::string description;
  // One of the two.
  std::function<Result<std::vector<BenchCase>>(const Registry&, BenchSize)> cases;
  std::function<Result<BenchReport>(const Registry&, const BenchRun&)> measure;
};

// Attaches or detaches a tool that receives the ranges of this program (harness/trace), and gives
// how many it has received so far. Empty: the program has no such tool.
using TraceSwitch = std::function<std::uint64_t(bool on)>;

// Every suite, in order. Defined by the composition root, kvrm.cc.
std::vector<BenchSuite> make_bench_suites(const TraceSwitch& tool = {});

// Runs the cases `repetitions` times each; rows in the order of the cases.
std::vector<BenchRow> run_cases(const std::vector<BenchCase>& cases, std::uint32_t repetitions);

// Rank, from 0, of the lower and upper end of the 95% interval of a median of `count` sorted
// values: the binomial order-statistics interval.
struct MedianRanks {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
};
MedianRanks median_interval_ranks(std::uint32_t count);

// Runs a whole suite.
Result<BenchReport> run_suite(const BenchSuite& suite, const Registry& registry,
                              const BenchRun& run);

std::string report_to_json(const BenchReport& report);
std::string report_to_table(const BenchReport& report);

int run_bench(int argc, char** argv, const Registry& registry,
              const std::vector<BenchSuite>& suites);

}  // namespace kvrm
