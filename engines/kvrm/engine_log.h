// The descriptor log of a `kvrm` engine's life: every call that changed it, in order, with the
// record of every step. A replay makes the same calls on an equal engine, whose graph then takes
// its steps from the log's records instead of planning them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engines/descriptor/descriptor_log.h"
#include "harness/base/result.h"
#include "harness/contract/engine.h"
#include "harness/contract/engine_spec.h"
#include "harness/contract/model.h"

namespace kvrm {

// The engine's own kinds of entries. What each holds is a fixed part, written as it lies, and then
// the tokens or slots that it names.
enum class EngineCall : std::uint32_t {
  admit = static_cast<std::uint32_t>(LogEntryKind::first_engine),
  prefill,
  extend,
  release,
  submit,      // then the step's record follows
  experiment,  // resolved YAML, before all calls
  // While the step before runs, whose blocks that came free are not to be had yet.
  extend_ahead,
};

struct AdmitEntry {
  SlotIndex slot = 0;
  std::uint32_t token_count = 0;
  RequestId request = 0;
  std::uint64_t content_key = 0;
  std::uint64_t prefix_key = 0;
  std::uint32_t prefix_tokens = 0;
  SlotIndex fork_from = 0;
  std::uint32_t forks = 0;   // 1: fork_from counts
  std::uint32_t tokens = 0;  // that follow
};
static_assert(sizeof(AdmitEntry) == 48);

struct PrefillEntry {
  SlotIndex slot = 0;
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  std::uint32_t last = 0;
};

// Whatever must be equal for a replay to mean anything: the model, and everything in the spec that
// an engine is made from.
std::uint64_t log_fingerprint(const EngineSpec& spec, const Model& model);

// Writes the log. The first failure sticks and is what failure() says; nothing is written after it.
class EngineLog {
 public:
  static Result<EngineLog> create(const std::string& path, const DescriptorLogInfo& info);

  void experiment(const std::string& yaml);
  void admit(const Admission& admission);
  void prefill(const PrefillChunk& chunk);
  void extend(SlotIndex slot, bool ahead) {
    append_value(ahead ? EngineCall::extend_ahead : EngineCall::extend, slot);
  }
  void release(SlotIndex slot) { append_value(EngineCall::release, slot); }
  void submit(const StepPlan& step, std::span<const std::byte> record);
  void close();
  const std::string& failure() const { return failure_; }

 private:
  explicit EngineLog(DescriptorLogWriter writer) : writer_(std::move(writer)) {}
  template <class T>
  void append_value(EngineCall call, const T& value) {
    append(call, std::as_bytes(std::span(&value, 1)));
  }
  void append(EngineCall call, std::span<const std::byte> bytes);
  void note(const Status& done);

  DescriptorLogWriter writer_;
  std::vector<std::byte> scratch_;
  std::string failure_;
};

}  // namespace kvrm
