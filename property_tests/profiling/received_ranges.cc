#include "property_tests/profiling/received_ranges.h"

#include <dlfcn.h>
#include <stdlib.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string_view>

#include "harness/base/check.h"
#include "property_tests/profiling/trace_sink.h"

namespace kvrm {
namespace {

// The library that NVTX has loaded too; the same one, as it has the same path.
void* library() {
  static void* const opened = [] {
    setenv("NVTX_INJECTION64_PATH", trace_sink_path().c_str(), 1);
    return dlopen(trace_sink_path().c_str(), RTLD_NOW);
  }();
  KVRM_CHECK(opened != nullptr);
  return opened;
}

template <class Function>
Function* function(const char* name) {
  void* const found = dlsym(library(), name);
  KVRM_CHECK(found != nullptr);
  return reinterpret_cast<Function*>(found);
}

std::string line(std::string_view domain, std::string_view name, std::uint64_t payload) {
  std::string text = std::string(name) + " " + std::to_string(payload);
  if (domain != "kvrm") text += " in domain `" + std::string(domain) + "`";
  return text;
}

std::string end_line(std::string_view domain) {
  return domain == "kvrm" ? "end" : "end in domain `" + std::string(domain) + "`";
}

std::vector<KvrmTraceEvent> events() {
  std::size_t count = 0;
  const KvrmTraceEvent* first = function<decltype(kvrm_trace_events)>("kvrm_trace_events")(&count);
  return {first, first + count};
}

}  // namespace

std::string trace_sink_path() { return KVRM_TRACE_SINK; }

LoadedSink::LoadedSink() { library(); }
void LoadedSink::clear() { function<decltype(kvrm_trace_clear)>("kvrm_trace_clear")(); }
void LoadedSink::listen(bool on) { function<decltype(kvrm_trace_listen)>("kvrm_trace_listen")(on); }
std::uint64_t LoadedSink::other_calls() const {
  return function<decltype(kvrm_trace_other_calls)>("kvrm_trace_other_calls")();
}

std::uint64_t LoadedSink::threads() const {
  std::set<std::uint64_t> threads;
  for (const KvrmTraceEvent& event : events()) threads.insert(event.thread);
  return threads.size();
}

RangeLines LoadedSink::lines() const {
  RangeLines lines;
  for (const KvrmTraceEvent& event : events()) {
    const bool known = event.name != nullptr && event.typed;
    lines.push_back(event.push ? line(event.domain, known ? event.name : "?", event.payload)
                               : end_line(event.domain));
  }
  return lines;
}

RangeLines lines_of_file(const std::string& path) {
  RangeLines lines;
  std::ifstream file(path);
  for (std::string text; std::getline(file, text);) {
    std::istringstream words(text);
    std::string kind;
    std::string thread;
    std::string domain;
    std::string name;
    std::uint64_t payload = 0;
    words >> kind;
    if (kind == "other") {
      lines.push_back(text);
      continue;
    }
    words >> thread >> domain;
    if (kind == "push") {
      words >> name >> payload;
      lines.push_back(words ? line(domain, name, payload) : text);
    } else {
      lines.push_back(end_line(domain));
    }
  }
  return lines;
}

bool is_balanced(const RangeLines& lines) {
  std::int64_t open = 0;
  for (const std::string& text : lines) {
    open += text.starts_with("end") ? -1 : 1;
    if (open < 0) return false;
  }
  return open == 0;
}

}  // namespace kvrm
