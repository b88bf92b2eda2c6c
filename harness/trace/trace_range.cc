#include "harness/trace/trace_range.h"

#include <nvtx3/nvToolsExt.h>

#include <array>

#include "harness/base/mutation.h"

namespace kvrm::trace {
namespace {

constexpr std::array<const char*, kTraceNames> kNames = {"admit",  "prefill", "plan",   "commit",
                                                         "replay", "sample",  "release"};

// What a tool knows us by; without a tool every handle is null.
struct Handles {
  nvtxDomainHandle_t domain = nullptr;
  std::array<nvtxStringHandle_t, kTraceNames> names{};
};

Handles register_names() {
  Handles handles;
  handles.domain = nvtxDomainCreateA("kvrm");
  for (std::size_t i = 0; i < kTraceNames; ++i) {
    handles.names[i] = nvtxDomainRegisterStringA(handles.domain, kNames[i]);
  }
  return handles;
}

// Registered at the first range, and not as the program starts: the first call is when NVTX looks
// for a tool.
const Handles& handles() {
  static const Handles registered = register_names();
  return registered;
}

}  // namespace

void push(TraceName name, Epoch step) {
  const Handles& known = handles();
  nvtxEventAttributes_t range{};
  range.version = NVTX_VERSION;
  range.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
  range.payloadType = NVTX_PAYLOAD_TYPE_UNSIGNED_INT64;
  range.payload.ullValue = KVRM_MUTATE(trace_payload_of_the_step_before, step, step - 1);
  range.messageType =
      KVRM_MUTATE(trace_name_unregistered, NVTX_MESSAGE_TYPE_REGISTERED, NVTX_MESSAGE_TYPE_ASCII);
  range.message.registered = known.names[static_cast<std::size_t>(name)];
  nvtxDomainRangePushEx(KVRM_MUTATE(trace_default_domain, known.domain, nullptr), &range);
}

void pop() { nvtxDomainRangePop(handles().domain); }

}  // namespace kvrm::trace
