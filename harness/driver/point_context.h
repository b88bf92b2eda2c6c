// Everything that one point of an experiment runs on: its model, its device, the facts of its
// workload, and the means to make its engines. No engine lives here.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "harness/base/result.h"
#include "harness/config/experiment.h"
#include "harness/driver/drive.h"
#include "harness/driver/registry.h"
#include "harness/driver/verify.h"

namespace kvrm {

struct WorkloadFacts {
  std::uint64_t digest = 0;  // fold_request over all requests
  std::uint64_t requests = 0;
  std::uint64_t output_tokens = 0;  // sum of the budgets
};

class PointContext {
 public:
  // Loads the model, makes the device, reads the workload once through, checks the budgets, and
  // makes every engine once to see what it reserves. `point` and `registry` must outlive this.
  static Result<PointContext> open(const ExperimentPoint& point, const Registry& registry);

  const ExperimentPoint& point() const { return *point_; }
  const Registry& registry() const { return *registry_; }
  const Model& model() const { return *model_; }
  Device& device() const { return *device_; }
  const WorkloadFacts& workload() const { return workload_; }
  const std::vector<EngineInfo>& engine_infos() const { return infos_; }

  Result<std::unique_ptr<Engine>> make_engine(std::size_t index,
                                              const DescriptorLogSpec& descriptor_log = {}) const;
  Result<std::unique_ptr<RequestStream>> open_workload() const;
  // The reference of exact engines (rule not enabled), or of those that follow the rule.
  OracleChecker make_oracle(const FarHistoryRule& rule) const;
  // Budget, model and sizes; the rest as DriveOptions has it.
  DriveOptions drive_options() const;
  LoopMode loop() const;
  // The requests with these ids (ascending, distinct), in that order, from a fresh stream.
  Result<std::vector<Request>> find_requests(std::span<const RequestId> ids) const;

 private:
  PointContext(const ExperimentPoint& point, const Registry& registry)
      : point_(&point), registry_(&registry) {}
  Status make_device();
  Status read_workload();
  Status inspect_engines();

  const ExperimentPoint* point_;
  const Registry* registry_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Device> device_;
  WorkloadFacts workload_;
  std::vector<EngineInfo> infos_;
};

// Why the point is not run: its KV budget is above driver.max_kv_bytes, or its KV budget, twice its
// weights (as loaded and as packed) and a batch of outputs together do not fit into `available`
// bytes. None where it is run.
std::optional<std::string> why_too_large(const ExperimentPoint& point, std::uint64_t available);

}  // namespace kvrm
