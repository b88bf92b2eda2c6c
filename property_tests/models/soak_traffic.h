// Random traffic that keeps an engine's block pool nearly full for as long as it is asked to:
// joins, forks, decode steps in which some slots pause, work ahead of a running step, ends,
// cancellations, and preemptions when the pool is exhausted. It looks at no output; tests that
// compare engines do.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "harness/base/prng.h"
#include "harness/contract/engine.h"

namespace kvrm::soak {

struct TrafficShape {
  std::uint32_t prompt_min = 1;
  std::uint32_t prompt_max = 0;
  std::uint32_t output_max = 0;   // tokens after the prompt, where max_len allows
  std::uint32_t fork_one_in = 4;  // of those that join, where the engine can fork
  double occupancy = 0.95;        // of the pool; requests join while it is below
};

// What the traffic met: a run that never met one of these proves nothing about it.
struct TrafficCounts {
  std::uint64_t steps = 0;
  std::uint64_t joins = 0;
  std::uint64_t forks = 0;
  std::uint64_t ends = 0;
  std::uint64_t cancellations = 0;
  std::uint64_t preemptions = 0;
  std::uint64_t pauses = 0;     // of a slot that sat out a step
  std::uint64_t prepared = 0;   // steps that were prepared while another one ran
  std::uint64_t positions = 0;  // decoded
  double occupancy_sum = 0;     // over steps, when each one starts

  double occupancy_mean() const { return occupancy_sum / static_cast<double>(steps); }
};

class EngineTraffic {
 public:
  EngineTraffic(Engine& engine, const TrafficShape& shape, std::uint64_t seed);

  void run(std::uint64_t steps);
  // Gives every slot back.
  void close_all();
  // Since the last call.
  TrafficCounts take_counts();

 private:
  struct Running {
    std::uint32_t length = 0;  // positions, those of extend() included
    std::uint32_t left = 0;    // tokens to decode
    bool extended = false;     // room for the next step is there
  };

  void join_some();
  bool join(SlotIndex slot);
  void prefill(SlotIndex slot, std::uint32_t tokens);
  bool fork(SlotIndex slot, SlotIndex from);
  void start(SlotIndex slot, std::uint32_t length);
  void choose_slots();
  bool extend(SlotIndex slot);
  void step();
  void work_ahead();
  void preempt(SlotIndex needy);
  void release(SlotIndex slot);
  std::optional<SlotIndex> any_slot(bool used);
  double occupancy() const;
  std::uint32_t random_between(std::uint32_t low, std::uint32_t high) {
    return low + static_cast<std::uint32_t>(random_.below(high - low + 1));
  }

  Engine& engine_;
  TrafficShape shape_;
  RandomStream random_;
  std::uint64_t pool_bytes_ = 0;
  std::vector<std::optional<Running>> slots_;
  std::vector<SlotIndex> plan_;
  std::vector<SlotIndex> ahead_;
  std::uint64_t requests_ = 0;
  Epoch epoch_ = 0;
  TrafficCounts counts_;
};

}  // namespace kvrm::soak
