#include "harness/trace/trace_range.h"

#include <nvtx3/nvToolsExt.h>

#include <array>
#include <atomic>

#include "harness/base/mutation.h"

namespace kvrm::trace {
namespace {

constexpr std::array<const char*, kTraceNames> kNames = {"admit",  "prefill", "plan",   "commit",
                                                         "replay", "sample",  "release"};

// What a tool knows us by; without a tool every handle is null. NVTX is the process's, and so are
// these.
struct Handles {
  nvtxDomainHandle_t domain = nullptr;
  std::array<nvtxStringHandle_t, kTraceNames> names{};
};

std::atomic<const Handles*> known = nullptr;

Handles registered_names() {
  Handles handles;
  handles.domain = nvtxDomainCreateA("kvrm");
  for (std::size_t i = 0; i < kTraceNames; ++i) {
    handles.names[i] = nvtxDomainRegisterStringA(handles.domain, kNames[i]);
  }
  return handles;
}

// At the first range, and not as the program starts: the first call is when NVTX looks for a tool.
[[gnu::cold, gnu::noinline]] const Handles& register_names() {
  static const Handles handles = registered_names();
  known.store(&handles, std::memory_order_release);
  return handles;
}

const Handles& handles() {
  const Handles* found = known.load(std::memory_order_acquire);
  return found != nullptr ? *found : register_names();
}

}  // namespace

// Every field is stored once; zeroing it all first takes as long as the rest.
void push(TraceName name, Epoch step) {
  const Handles& to = handles();
  nvtxEventAttributes_t range;
  range.version = NVTX_VERSION;
  range.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
  range.category = 0;
  range.colorType = NVTX_COLOR_UNKNOWN;
  range.color = 0;
  range.payloadType = NVTX_PAYLOAD_TYPE_UNSIGNED_INT64;
  range.reserved0 = 0;
  range.payload.ullValue = KVRM_MUTATE(trace_payload_of_the_step_before, step, step - 1);
  range.messageType =
      KVRM_MUTATE(trace_name_unregistered, NVTX_MESSAGE_TYPE_REGISTERED, NVTX_MESSAGE_TYPE_ASCII);
  range.message.registered = to.names[static_cast<std::size_t>(name)];
  nvtxDomainRangePushEx(KVRM_MUTATE(trace_default_domain, to.domain, nullptr), &range);
}

void pop() { nvtxDomainRangePop(handles().domain); }

}  // namespace kvrm::trace
