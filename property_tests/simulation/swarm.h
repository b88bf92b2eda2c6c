// Many worlds from one seed, on as many threads as asked for, until the time or their number is
// up. World i is drawn from (seed, i), so that neither threads nor time change what a world does.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "property_tests/simulation/world.h"

namespace kvrm::simulation {

// The state hash is that of the first worlds, which every run completes, however short.
inline constexpr std::uint64_t kHashedWorlds = 16;
// Of these, one world is run twice and must end in the same state.
inline constexpr std::uint64_t kRepeatedOneIn = 64;

struct SwarmOptions {
  std::uint64_t seed = 0;
  double seconds = 0;
  std::uint64_t worlds = kHashedWorlds;  // at least
  std::uint32_t threads = 1;
  Canary canary = Canary::none;
};

struct SwarmFailure {
  WorldPart part;
  std::string violation;
};

struct SwarmResult {
  std::uint64_t worlds = 0;
  WorldTotals totals;
  std::uint64_t state_hash = 0;
  double seconds = 0;
  std::uint64_t violations = 0;
  std::optional<SwarmFailure> first;  // that with the least number of a world
};

WorldPart swarm_world(const SwarmOptions& options, std::uint64_t index);

// `starting` is told of each world before it begins, on its own thread. Ends early at a violation.
SwarmResult run_swarm(const SwarmOptions& options, const Registry& registry,
                      const std::function<void(const WorldPart&)>& starting);

// One line of JSON.
std::string swarm_json(const SwarmOptions& options, const SwarmResult& result,
                       const std::string& version);

}  // namespace kvrm::simulation
