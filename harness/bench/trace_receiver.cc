#include "harness/bench/trace_receiver.h"

#include <nvtx3/nvToolsExt.h>

#include <array>

#include "harness/bench/trace_injection.h"
#include "harness/trace/trace_range.h"

namespace kvrm {
namespace {

// NVTX knows a tool only as functions of a process, so its state can be nowhere else.
std::uint64_t received = 0;  // ranges that began

struct Callback {
  NvtxFunctionPointer* place = nullptr;  // null until NVTX has looked for a tool and found us
  NvtxFunctionPointer function = nullptr;
};
std::array<Callback, 2> callbacks;

int range_begins(nvtxDomainHandle_t /*domain*/, const nvtxEventAttributes_t* range) {
  received += range->messageType == NVTX_MESSAGE_TYPE_REGISTERED ? 1 : 0;
  return 0;
}
int range_ends(nvtxDomainHandle_t /*domain*/) { return 0; }

void attach(bool on) {
  for (const Callback& callback : callbacks) *callback.place = on ? callback.function : nullptr;
}

}  // namespace

int receive_ranges(const void* (*get_table)(std::uint32_t)) {
  const auto* tables = static_cast<const NvtxExportTableCallbacks*>(get_table(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable core2 = nullptr;
  unsigned int size = 0;
  if (tables == nullptr ||
      tables->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &core2, &size) == 0 ||
      size <= NVTX_CBID_CORE2_DomainRangePop) {
    return 0;
  }
  callbacks = {Callback{core2[NVTX_CBID_CORE2_DomainRangePushEx],
                        reinterpret_cast<NvtxFunctionPointer>(range_begins)},
               Callback{core2[NVTX_CBID_CORE2_DomainRangePop],
                        reinterpret_cast<NvtxFunctionPointer>(range_ends)}};
  return 1;
}

TraceSwitch trace_switch() {
  { const TraceRange first(TraceName::plan, 0); }  // has NVTX look for a tool
  if (callbacks.front().place == nullptr) return {};
  return [](bool on) {
    attach(on);
    return received;
  };
}

}  // namespace kvrm
