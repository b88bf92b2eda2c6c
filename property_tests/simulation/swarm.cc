#include "property_tests/simulation/swarm.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "harness/base/hash.h"
#include "harness/device/clock.h"

namespace kvrm::simulation {
namespace {

class Swarm {
 public:
  Swarm(const SwarmOptions& options, const Registry& registry,
        const std::function<void(const WorldPart&)>& starting)
      : options_(options), registry_(registry), starting_(starting), start_(clock_.now()) {}

  SwarmResult run() {
    std::vector<std::thread> threads;
    for (std::uint32_t i = 1; i < options_.threads; ++i) threads.emplace_back([this] { work(); });
    work();
    for (std::thread& thread : threads) thread.join();
    result_.seconds = static_cast<double>(clock_.now() - start_) / 1e9;
    for (const std::uint64_t hash : hashes_) {
      result_.state_hash = hash_combine(result_.state_hash, hash);
    }
    return std::move(result_);
  }

 private:
  bool goes_on(std::uint64_t index) {
    if (failed_) return false;
    const bool in_time = static_cast<double>(clock_.now() - start_) / 1e9 < options_.seconds;
    return index < std::max(options_.worlds, kHashedWorlds) || in_time;
  }

  void work() {
    while (true) {
      const std::uint64_t index = next_++;
      if (!goes_on(index)) return;
      const WorldPart part = swarm_world(options_, index);
      starting_(part);
      World world(part, registry_);
      world.run();
      std::string violation = world.violation();
      if (violation.empty() && index % kRepeatedOneIn == 0) {
        World again(part, registry_);
        again.run();
        if (again.state_hash() != world.state_hash()) violation = "not the same state twice";
      }
      take(index, world, part, violation);
    }
  }

  void take(std::uint64_t index, const World& world, const WorldPart& part,
            const std::string& violation) {
    const std::lock_guard lock(mutex_);
    ++result_.worlds;
    result_.totals.add(world.totals());
    if (index < kHashedWorlds) hashes_[index] = world.state_hash();
    if (violation.empty()) return;
    ++result_.violations;
    failed_ = true;
    if (!result_.first || index < first_index_) {
      first_index_ = index;
      result_.first = {part, violation};
    }
  }

  SwarmOptions options_;
  const Registry& registry_;
  const std::function<void(const WorldPart&)>& starting_;
  SteadyClock clock_;
  Nanoseconds start_;
  std::atomic<std::uint64_t> next_{0};
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  std::array<std::uint64_t, kHashedWorlds> hashes_{};
  std::uint64_t first_index_ = 0;
  SwarmResult result_;
};

}  // namespace

WorldPart swarm_world(const SwarmOptions& options, std::uint64_t index) {
  WorldPart part;
  part.world = mix64(mix64(options.seed) + index);
  part.canary = options.canary;
  return part;
}

SwarmResult run_swarm(const SwarmOptions& options, const Registry& registry,
                      const std::function<void(const WorldPart&)>& starting) {
  return Swarm(options, registry, starting).run();
}

std::string swarm_json(const SwarmOptions& options, const SwarmResult& result,
                       const std::string& version) {
  const WorldTotals& totals = result.totals;
  nlohmann::ordered_json by_kind;
  std::uint64_t faults = 0;
  for (std::size_t i = 0; i < kFaults; ++i) {
    by_kind[std::string(kFaultNames[i])] = totals.faults[i];
    faults += totals.faults[i];
  }
  nlohmann::ordered_json json;
  json["commit"] = version;
  json["seed"] = options.seed;
  json["configuration"] = {{"threads", options.threads},
                           {"worlds", result.worlds},
                           {"worlds_hashed", kHashedWorlds},
                           {"seconds", result.seconds}};
  json["steps"] = totals.steps;
  json["steps_per_second"] =
      static_cast<std::uint64_t>(static_cast<double>(totals.steps) / result.seconds);
  json["faults"] = faults;
  json["faults_by_kind"] = by_kind;
  json["met"] = {{"rows", totals.rows},
                 {"admissions", totals.admissions},
                 {"preemptions", totals.preemptions},
                 {"recomputed", totals.recomputed},
                 {"forks", totals.forks},
                 {"copy_on_writes", totals.copy_on_writes},
                 {"compacted_blocks", totals.compacted_blocks},
                 {"full_commits", totals.full_commits},
                 {"far_merges", totals.far_merges},
                 {"rows_against_oracle", totals.oracle_rows},
                 {"histories_read_back", totals.read_backs}};
  json["violations"] = result.violations;
  json["state_hash"] = fmt::format("{:016x}", result.state_hash);
  return json.dump();
}

}  // namespace kvrm::simulation
