// The program `kvrm_bench`: the composition root's registry and suites handed to the benchmark
// runner.
#include "harness/bench/bench.h"
#include "harness/bench/trace_receiver.h"
#include "harness/driver/registry.h"

int main(int argc, char** argv) {
  return kvrm::run_bench(argc, argv, kvrm::make_registry(),
                         kvrm::make_bench_suites(kvrm::trace_switch()));
}
