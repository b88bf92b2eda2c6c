// A simulated world: several engines on devices that fail, driven in lockstep by commands that are
// drawn one by one, each from its own number, so that leaving some out does not change the others.
// After every step all engines' outputs must be the same bits and every invariant must hold.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "harness/driver/verify.h"
#include "property_tests/simulation/instance.h"
#include "property_tests/simulation/world_spec.h"

namespace kvrm::simulation {

struct WorldTotals {
  std::uint64_t steps = 0;  // of engines, each checked
  std::uint64_t rows = 0;
  FaultCounts faults{};
  std::uint64_t admissions = 0;
  std::uint64_t preemptions = 0;
  std::uint64_t forks = 0;
  std::uint64_t recomputed = 0;  // requests that came back after a preemption
  std::uint64_t oracle_rows = 0;
  std::uint64_t read_backs = 0;
  std::uint64_t copy_on_writes = 0;
  std::uint64_t compacted_blocks = 0;
  std::uint64_t full_commits = 0;
  std::uint64_t far_merges = 0;

  void add(const WorldTotals& other);
};

// How closely a world is looked at; what happens in it is the same.
struct WorldWatch {
  bool thorough = false;  // every row against the oracle, every history read back at every step
  bool trace = false;     // every command that does something is printed
};

class World {
 public:
  World(const WorldPart& part, const Registry& registry, WorldWatch watch = {});

  // Runs every command, up to the first violation; then releases everything.
  void run();

  const WorldSpec& spec() const { return spec_; }
  const std::string& violation() const { return violation_; }  // empty: none
  std::uint64_t failed_command() const { return command_; }
  const WorldTotals& totals() const { return totals_; }
  std::uint64_t state_hash() const { return hash_; }
  std::size_t engines() const { return instances_.size(); }

 private:
  // What is known of a request; in a slot, or preempted.
  struct History {
    std::uint64_t id = 0;
    SlotTruth truth;                     // truth.positions: computed
    std::uint32_t known = 0;             // positions to prefill
    std::uint32_t target = 0;            // positions after which it ends
    std::uint64_t order = 0;             // of its admission
    std::vector<TokenId> tokens;         // decoder: prompt, then what was sampled
    std::vector<std::uint64_t> digests;  // [position] of its output; 0: not given yet

    bool decodes() const { return truth.positions >= known && truth.positions > 0; }
  };

  bool make();
  void run_command(Draw& draw);
  Command draw_command(Draw& draw) const;
  void admit(Draw& draw);
  History new_history(Draw& draw);
  bool admit_everywhere(SlotIndex slot, const History& history);
  void place(SlotIndex slot, History history);
  void prefill(Draw& draw);
  void prefill_slot(SlotIndex slot, std::uint32_t count, Draw& draw);
  void replace(Draw& draw);
  void place_longest(SlotIndex slot, Draw& draw);
  void fork(Draw& draw);
  std::optional<History> fork_of(const History& parent, Draw& draw);
  void leave(Draw& draw);
  void step(Draw& draw);
  std::vector<SlotIndex> choose_slots(Draw& draw);
  bool make_room(SlotIndex slot, std::vector<SlotIndex>& plan);
  void step_instance(Instance& instance, std::span<const SlotIndex> plan, Draw& draw);
  void work_ahead(Instance& instance, std::span<const SlotIndex> plan, Draw& draw);
  void end_finished(std::span<const SlotIndex> plan);
  void exhaust(Draw& draw);
  void exhaust_instance(Instance& instance, Draw& draw);
  void remove(SlotIndex slot, bool keep);
  bool arm(Instance& instance, bool launches_only, Draw& draw);
  void disarm(Instance& instance, bool armed);
  void take_row(Instance& instance, const RowResult& row, SlotIndex slot, std::uint32_t position);
  void ask_oracle(const History& history, const RowResult& row, std::uint32_t position);
  void check_memory();
  void read_back(Draw& draw, std::span<const SlotIndex> plan);
  std::optional<SlotIndex> any_slot(Draw& draw, bool used) const;
  std::optional<SlotIndex> youngest_but(SlotIndex slot) const;
  void settle();
  void fail_with(const std::string& what);
  bool plans(Fault fault) const;
  void say(const std::string& what) const;

  WorldPart part_;
  WorldSpec spec_;
  const Registry& registry_;
  WorldWatch watch_;
  KernelSet kernels_;
  std::unique_ptr<Model> model_;
  std::vector<std::unique_ptr<Instance>> instances_;
  std::unique_ptr<OracleChecker> oracle_;
  std::vector<std::optional<History>> slots_;
  std::vector<History> parked_;
  std::vector<SlotTruth> truths_;  // scratch: [slots] of the step that runs
  std::uint64_t requests_ = 0;
  std::uint64_t admissions_ = 0;
  Epoch epoch_ = 0;
  std::optional<Fault> armed_;
  std::uint64_t command_ = 0;
  std::string violation_;
  WorldTotals totals_;
  std::uint64_t hash_ = 0;
};

}  // namespace kvrm::simulation
