// What one simulated world is: model, engines with their options and budgets, workload and fault
// plan, all drawn from one number; and what a shrunk run of it leaves out. Values only.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "harness/base/prng.h"
#include "harness/base/result.h"
#include "harness/config/experiment.h"
#include "harness/contract/engine_spec.h"
#include "property_tests/simulation/faults.h"

namespace kvrm::simulation {

class Draw {
 public:
  explicit Draw(std::uint64_t seed, std::string_view purpose) : stream_(seed, purpose) {}
  std::uint32_t between(std::uint32_t low, std::uint32_t high) {
    return low + static_cast<std::uint32_t>(stream_.below(std::uint64_t{high} - low + 1));
  }
  bool one_in(std::uint32_t count) { return stream_.below(count) == 0; }
  bool chance(double probability) { return stream_.uniform() < probability; }
  template <class T>
  T one_of(const std::vector<T>& values) {
    return values[stream_.below(values.size())];
  }
  std::uint64_t number() { return stream_.next(); }

 private:
  RandomStream stream_;
};

enum class Command : std::uint8_t { admit, prefill, step, leave, fork, exhaust, replace };
inline constexpr std::size_t kCommands = 7;

struct WorldSpec {
  std::uint64_t seed = 0;
  ModelSpec model;
  std::string kernels;  // target
  std::uint32_t slots = 0;
  std::vector<EngineSpec> engines;
  FarHistoryRule far_history;
  // So many slots of so few blocks, each a group of its own, that replacing all histories at once
  // takes more edits than a step image is worth.
  bool crowded = false;
  bool overlap = false;
  std::uint32_t prompt_max = 0;
  std::uint32_t prefill_tokens = 0;
  std::uint32_t pause_one_in = 0;
  std::uint32_t oracle_one_in = 0;  // rows that are compared with the oracle
  std::uint32_t commands = 0;
  std::array<std::uint32_t, kCommands> weights{};
  double fault_rate = 0;  // of steps and prefill chunks
  std::vector<Fault> faults;

  std::string describe() const;
};

// Names in `without` are those of all_part_names().
struct WorldPart {
  std::uint64_t world = 0;                                       // the seed
  std::uint64_t commands = 0;                                    // at most; 0: all
  std::vector<std::pair<std::uint64_t, std::uint64_t>> skipped;  // commands [first, last]
  std::set<std::string> without;
  Canary canary = Canary::none;

  bool skips(std::uint64_t command) const;
  std::string arguments() const;  // of kvrm_sim, that run it again
};

// Features, labels of engines, and faults, that a run can do without.
std::vector<std::string> all_part_names();

WorldSpec draw_world(std::uint64_t seed);
// The world less what the part leaves out.
WorldSpec draw_world(const WorldPart& part);

}  // namespace kvrm::simulation
