// Random small setups for tests that run several engines side by side: a model, a budget tight
// enough to preempt, a workload, and engines of every kind with random options. Not a workload
// generator; streams here are lists.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "harness/base/prng.h"
#include "harness/config/experiment.h"
#include "harness/contract/request.h"
#include "harness/driver/registry.h"
#include "harness/result/event_log.h"

namespace kvrm {

// Whether padding bytes of arguments are zero (OpList: g++) or anything (clang 14): only then is a
// launch signature the same in two constructions.
#if __has_builtin(__builtin_clear_padding)
inline constexpr bool kClearsPadding = true;
#else
inline constexpr bool kClearsPadding = false;
#endif

struct EngineCase {
  ModelSpec model;
  Budget budget;
  std::vector<Request> requests;
  std::uint32_t concurrency = 1;
  std::vector<EngineSpec> engines;

  std::string describe() const;
};

// Drawn from the seed alone, so that one number repeats a case.
EngineCase draw_engine_case(std::uint64_t seed);

// What one engine gave: the log, and the last output of every finished request by id.
struct EngineRun {
  EventLog log;
  std::vector<OutputSample> outputs;
};

// Runs one engine of the case on a fresh device; failures to construct are errors of the case.
Result<EngineRun> run_engine_case(const EngineCase& setup, const EngineSpec& spec,
                                  const Registry& registry, const Model& model,
                                  const BackendSpec& backend);

class ListStream final : public RequestStream {
 public:
  explicit ListStream(const std::vector<Request>& requests) : requests_(requests) {}

 private:
  Result<std::optional<Request>> do_next() override {
    if (next_ == requests_.size()) return std::nullopt;
    return requests_[next_++];
  }

  const std::vector<Request>& requests_;
  std::size_t next_ = 0;
};

}  // namespace kvrm
