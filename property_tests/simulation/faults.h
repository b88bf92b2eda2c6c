// The faults that the simulator injects, by name, and how often each was. All of them come through
// the Device and Engine interfaces; no engine has a hook for any.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace kvrm::simulation {

enum class Fault : std::uint8_t {
  allocation,           // the n-th allocation of device memory while an engine is made fails
  exhaustion,           // an admit() or extend() meets a pool that holds nothing
  record_flipped,       // a bit of a step record arrives inverted
  record_torn,          // only the first words of a record arrive
  record_lost,          // the graph runs before anything was published
  record_stale,         // the record of the step before arrives in this one's place
  record_reordered,     // a record arrives before the one before it
  record_twice,         // a record arrives again after it was applied
  transport_delayed,    // nothing that was launched runs before somebody waits for it
  transport_reordered,  // the items of an operation run in any order
  transport_twice,      // every copy is done again
  transport_partial,    // a copy stops after some items, and is then done whole
  worker_stalled,       // one of three workers holds on to its item until all others have ended
  aborted,              // a request is given up, wherever it is
};
inline constexpr std::size_t kFaults = 14;

inline constexpr std::array<std::string_view, kFaults> kFaultNames = {
    "allocation",          "exhaustion",      "record_flipped",
    "record_torn",         "record_lost",     "record_stale",
    "record_reordered",    "record_twice",    "transport_delayed",
    "transport_reordered", "transport_twice", "transport_partial",
    "worker_stalled",      "aborted"};

constexpr std::string_view fault_name(Fault fault) {
  return kFaultNames[static_cast<std::size_t>(fault)];
}
constexpr bool damages_record(Fault fault) {
  return fault >= Fault::record_flipped && fault <= Fault::record_twice;
}
constexpr bool disturbs_device(Fault fault) {
  return fault >= Fault::transport_delayed && fault <= Fault::worker_stalled;
}

using FaultCounts = std::array<std::uint64_t, kFaults>;

// A device that is broken on purpose and says nothing, to prove that the simulator would notice.
enum class Canary : std::uint8_t {
  none,
  lost_copy,  // now and then copies and appends do not happen
  image_bit,  // now and then a bit of the step image changes after a step
};

}  // namespace kvrm::simulation
