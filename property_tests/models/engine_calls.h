// Whole engines by random calls of their contract: the calls, and a model that makes them, keeps
// what each slot must hold, and compares every row with that of the request alone. Tests only.
#pragma once

#include <rapidcheck.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "harness/contract/engine.h"

namespace kvrm::engine_model {

inline constexpr std::uint64_t kKeys = 3;  // contents; equal ones are what forks share

// The last three are several calls: a request goes and comes back with what it had; every slot gets
// a new history, all of them in the same step; a few steps of every slot.
enum class Kind : std::uint8_t {
  admit,
  fork,
  prefill,
  extend,
  step,
  step_ahead,
  release,
  preempt,
  replace_all,
  decode
};

struct Operation {
  Kind kind = Kind::step;
  std::uint32_t slot = 0;
  std::uint32_t amount = 0;
};
std::ostream& operator<<(std::ostream& out, const Operation& operation);
rc::Gen<Operation> operations();

using Coverage = std::map<std::string, std::uint64_t>;

// [key][length]: what attention gives there, from a request that had an engine to itself.
using Expected = std::vector<std::vector<std::uint64_t>>;

class EngineModel {
 public:
  // The longest history is what `expected` ends with.
  EngineModel(Engine& engine, const Expected& expected, Coverage& coverage);

  void run(const Operation& operation);
  // Releases everything, and adds what the engine counts to the coverage.
  void finish();
  // What each request gave, every row in order; requests are numbered by their admission.
  const std::map<RequestId, std::vector<std::uint64_t>>& outputs() const { return outputs_; }

 private:
  struct Slot {
    RequestId request = 0;
    std::uint64_t key = 0;
    std::uint32_t known = 0;   // positions to prefill
    std::uint32_t length = 0;  // computed
    bool room = false;         // for one more
    bool prefilled() const { return length >= known; }
  };

  bool all_or_nothing(const std::function<bool()>& call);
  bool admit(SlotIndex index, Slot slot);
  void fork(SlotIndex index, std::uint32_t amount);
  void prefill(SlotIndex index, std::uint32_t count);
  bool extend(SlotIndex index, bool running);
  void step(bool ahead, std::uint32_t amount);
  void note_rows();
  void compare(const RowResult& row, SlotIndex index);
  void release(SlotIndex index);
  void preempt(SlotIndex index);
  void replace_all(std::uint32_t amount);
  void decode(std::uint32_t amount);

  Engine& engine_;
  const Expected& expected_;
  Coverage& coverage_;
  std::uint32_t max_len_ = 0;
  std::vector<std::optional<Slot>> slots_;
  Epoch steps_ = 0;
  std::uint64_t rows_ = 0;    // computed so far, padding included
  std::uint64_t bucket_ = 0;  // and in the last step
  RequestId requests_ = 0;
  std::map<RequestId, std::vector<std::uint64_t>> outputs_;
};

}  // namespace kvrm::engine_model
