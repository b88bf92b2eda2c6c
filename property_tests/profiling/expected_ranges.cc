#include "property_tests/profiling/expected_ranges.h"

namespace kvrm {
namespace {

class Expected {
 public:
  explicit Expected(bool is_null) : is_null_(is_null) {}

  void add(const RecordedCall& call) {
    switch (call.kind) {
      case EngineCallKind::admit:
        return whole("admit", step_ + 1);
      case EngineCallKind::prefill:
        return whole("prefill", step_ + 1);
      case EngineCallKind::extend:
        return;
      case EngineCallKind::submit:
        return submit(call.step);
      case EngineCallKind::prepare:
        return whole("plan", call.step);
      case EngineCallKind::collect:
        lines.push_back("end");
        if (!is_null_) whole("sample", step_);
        return;
      case EngineCallKind::release:
        return whole("release", released_with_);
    }
  }

  // A release belongs to the turn of what went before it: what ended with a step to that step, what
  // ended with its prefill, or had to go for another's room, to the step to come.
  void note_for_release(const RecordedCall& call) {
    if (call.kind == EngineCallKind::release) return;
    const bool step_over = call.kind == EngineCallKind::collect;
    released_with_ = step_over ? step_ : step_ + 1;
  }

  RangeLines lines;

 private:
  void whole(const std::string& name, Epoch step) {
    lines.push_back(name + " " + std::to_string(step));
    lines.push_back("end");
  }
  void submit(Epoch step) {
    step_ = step;
    if (!is_null_) {
      whole("plan", step);
      whole("commit", step);
    }
    lines.push_back("replay " + std::to_string(step));
  }

  bool is_null_;
  Epoch step_ = 0;
  Epoch released_with_ = 1;
};

}  // namespace

RangeLines expected_ranges(const RecordedCalls& calls, bool is_null) {
  Expected expected(is_null);
  for (const RecordedCall& call : calls) {
    expected.add(call);
    expected.note_for_release(call);
  }
  return std::move(expected.lines);
}

}  // namespace kvrm
