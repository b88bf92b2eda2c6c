#include "property_tests/profiling/trace_sink.h"

#include <nvtx3/nvToolsExt.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <string>
#include <vector>

namespace {

// A registered string, and a domain: their addresses are the handles.
struct Registered {
  std::string text;
};

// The callbacks of NVTX that we took, and where they stand in its tables.
struct Callback {
  NvtxFunctionPointer* place;
  NvtxFunctionPointer function;
};

class Sink {
 public:
  ~Sink() {
    if (const char* file = std::getenv("KVRM_TRACE_FILE")) write(file);
  }

  void* registered(const char* text) { return &strings_.emplace_back(Registered{text}); }

  void push(const void* domain, const nvtxEventAttributes_t& range) {
    const bool known = range.messageType == NVTX_MESSAGE_TYPE_REGISTERED;
    events_.push_back({.thread = static_cast<std::uint64_t>(gettid()),
                       .payload = range.payload.ullValue,
                       .domain = text_of(domain),
                       .name = known ? text_of(range.message.registered) : nullptr,
                       .push = true,
                       .typed = range.payloadType == NVTX_PAYLOAD_TYPE_UNSIGNED_INT64});
  }
  void pop(const void* domain) {
    events_.push_back({.thread = static_cast<std::uint64_t>(gettid()),
                       .payload = 0,
                       .domain = text_of(domain),
                       .name = nullptr,
                       .push = false,
                       .typed = false});
  }

  const std::vector<KvrmTraceEvent>& events() const { return events_; }
  void clear() { events_.clear(); }
  std::uint64_t others = 0;
  std::vector<Callback> callbacks;

 private:
  const char* text_of(const void* handle) const {
    const auto found =
        std::ranges::find_if(strings_, [&](const Registered& one) { return &one == handle; });
    return found == strings_.end() ? "" : found->text.c_str();
  }

  void write(const char* file) const {
    std::FILE* out = std::fopen(file, "w");
    if (out == nullptr) return;
    for (const KvrmTraceEvent& event : events_) {
      if (event.push) {
        std::fprintf(out, "push %lu %s %s %lu\n", event.thread, event.domain,
                     event.name == nullptr || !event.typed ? "?" : event.name, event.payload);
      } else {
        std::fprintf(out, "pop %lu %s\n", event.thread, event.domain);
      }
    }
    std::fprintf(out, "other %lu\n", others);
    std::fclose(out);
  }

  std::deque<Registered> strings_;  // stays where it is
  std::vector<KvrmTraceEvent> events_;
};

Sink& sink() {
  static Sink one;
  return one;
}

nvtxDomainHandle_t create_domain(const char* name) {
  return static_cast<nvtxDomainHandle_t>(sink().registered(name));
}
nvtxStringHandle_t register_string(nvtxDomainHandle_t /*domain*/, const char* text) {
  return static_cast<nvtxStringHandle_t>(sink().registered(text));
}
int push_in_domain(nvtxDomainHandle_t domain, const nvtxEventAttributes_t* range) {
  sink().push(domain, *range);
  return 0;
}
int pop_in_domain(nvtxDomainHandle_t domain) {
  sink().pop(domain);
  return 0;
}
int other_push(const nvtxEventAttributes_t* /*range*/) { return ++sink().others, 0; }
int other_push_text(const char* /*text*/) { return ++sink().others, 0; }
int other_pop() { return ++sink().others, 0; }
void other_mark(const nvtxEventAttributes_t* /*mark*/) { ++sink().others; }
void domain_mark(nvtxDomainHandle_t /*domain*/, const nvtxEventAttributes_t* /*mark*/) {
  ++sink().others;
}
nvtxRangeId_t domain_start(nvtxDomainHandle_t /*domain*/, const nvtxEventAttributes_t* /*range*/) {
  return ++sink().others;
}

struct Table {
  NvtxFunctionTable entries = nullptr;
  unsigned int size = 0;
};

void take(const Table& table, unsigned int id, NvtxFunctionPointer function) {
  if (id < table.size) sink().callbacks.push_back({table.entries[id], function});
}

template <class Function>
NvtxFunctionPointer plain(Function function) {
  return reinterpret_cast<NvtxFunctionPointer>(function);
}

void take_callbacks(const Table& core, const Table& core2) {
  take(core, NVTX_CBID_CORE_MarkEx, plain(other_mark));
  take(core, NVTX_CBID_CORE_RangePushEx, plain(other_push));
  take(core, NVTX_CBID_CORE_RangePushA, plain(other_push_text));
  take(core, NVTX_CBID_CORE_RangePop, plain(other_pop));
  take(core2, NVTX_CBID_CORE2_DomainMarkEx, plain(domain_mark));
  take(core2, NVTX_CBID_CORE2_DomainRangeStartEx, plain(domain_start));
  take(core2, NVTX_CBID_CORE2_DomainRangePushEx, plain(push_in_domain));
  take(core2, NVTX_CBID_CORE2_DomainRangePop, plain(pop_in_domain));
  take(core2, NVTX_CBID_CORE2_DomainRegisterStringA, plain(register_string));
  take(core2, NVTX_CBID_CORE2_DomainCreateA, plain(create_domain));
}

}  // namespace

extern "C" {

const KvrmTraceEvent* kvrm_trace_events(std::size_t* count) {
  *count = sink().events().size();
  return sink().events().data();
}
void kvrm_trace_clear() { sink().clear(); }
std::uint64_t kvrm_trace_other_calls() { return sink().others; }
void kvrm_trace_listen(bool on) {
  for (const Callback& callback : sink().callbacks) {
    *callback.place = on ? callback.function : nullptr;
  }
}

// NVTX calls this once, at the process's first NVTX call.
__attribute__((visibility("default"))) int InitializeInjectionNvtx2(
    NvtxGetExportTableFunc_t get_table) {
  const auto* callbacks =
      static_cast<const NvtxExportTableCallbacks*>(get_table(NVTX_ETID_CALLBACKS));
  Table core;
  Table core2;
  if (callbacks == nullptr ||
      callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &core.entries, &core.size) == 0 ||
      callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &core2.entries, &core2.size) == 0) {
    return 0;
  }
  take_callbacks(core, core2);
  kvrm_trace_listen(true);
  return 1;
}
}
