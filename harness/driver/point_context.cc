#include "harness/driver/point_context.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "harness/base/units.h"
#include "harness/driver/fair_budget.h"

namespace kvrm {
namespace {

std::uint64_t weight_count(const ModelShape& shape) {
  if (shape.kind == ModelKind::attention_only) return 0;
  const std::uint64_t dim = shape.model_dim;
  const std::uint64_t query = std::uint64_t{shape.query_heads} * shape.head_dim;
  const std::uint64_t kv = std::uint64_t{shape.kv_heads} * shape.head_dim;
  const std::uint64_t layer = dim * (2 * query + 2 * kv + 3 * std::uint64_t{shape.hidden_dim} + 2);
  return shape.layers * layer + 2 * std::uint64_t{shape.vocabulary} * dim + dim;
}

std::uint64_t weight_bytes(const ModelSpec& model) {
  if (model.checkpoint.empty()) return weight_count(model.shape) * sizeof(float);
  std::error_code unreadable;  // is reported by whoever loads it
  const std::uintmax_t size = std::filesystem::file_size(model.checkpoint, unreadable);
  return unreadable ? 0 : size;
}

std::uint64_t output_bytes(const ExperimentPoint& point) {
  const ModelShape& shape = point.model.shape;
  const std::uint64_t values =
      shape.kind == ModelKind::decoder
          ? shape.vocabulary
          : std::uint64_t{shape.layers} * shape.query_heads * shape.head_dim;
  return point.budget.max_batch * values * sizeof(float);
}

}  // namespace

std::optional<std::string> why_too_large(const ExperimentPoint& point, std::uint64_t available) {
  const std::uint64_t most = point.driver.max_kv_bytes;
  if (most > 0 && point.budget.kv_bytes > most) {
    return fmt::format("budget.kv_bytes is {}, driver.max_kv_bytes {}",
                       format_bytes(point.budget.kv_bytes), format_bytes(most));
  }
  const std::uint64_t needed =
      point.budget.kv_bytes + 2 * weight_bytes(point.model) + output_bytes(point);
  if (needed <= available) return std::nullopt;
  return fmt::format("needs about {} of memory, {} available", format_bytes(needed),
                     format_bytes(available));
}

Result<PointContext> PointContext::open(const ExperimentPoint& point, const Registry& registry) {
  PointContext context(point, registry);
  if (Status fair = check_equal_budgets(point.engines); !fair) return tl::unexpected(fair.error());
  Result<std::unique_ptr<Model>> model = registry.load_model(point.model);
  if (!model) return tl::unexpected(model.error());
  context.model_ = std::move(*model);
  for (const auto step :
       {&PointContext::make_device, &PointContext::read_workload, &PointContext::inspect_engines}) {
    if (Status done = (context.*step)(); !done) return tl::unexpected(done.error());
  }
  return context;
}

Status PointContext::make_device() {
  for (const BackendEntry& backend : registry_->backends) {
    if (backend.kind != point_->backend.kind) continue;
    BackendSpec spec = point_->backend;
    spec.overlap = point_->driver.overlap;
    Result<std::unique_ptr<Device>> device = backend.make(spec);
    if (!device) return tl::unexpected(device.error());
    device_ = std::move(*device);
    return {};
  }
  return bad_input(fmt::format("backend.kind: no backend is called {}", point_->backend.kind));
}

Status PointContext::read_workload() {
  Result<std::unique_ptr<RequestStream>> stream = open_workload();
  if (!stream) return tl::unexpected(stream.error());
  while (true) {
    const Result<std::optional<Request>> request = (*stream)->next();
    if (!request) return tl::unexpected(request.error());
    if (!request->has_value()) return {};
    workload_.digest = fold_request(workload_.digest, **request);
    ++workload_.requests;
    workload_.output_tokens += (*request)->output_tokens;
  }
}

// One engine at a time, as in the runs to come.
Status PointContext::inspect_engines() {
  for (std::size_t i = 0; i < point_->engines.size(); ++i) {
    const Result<std::unique_ptr<Engine>> engine = make_engine(i);
    if (!engine) return tl::unexpected(engine.error());
    if (Status fair = check_reserved(point_->engines[i], **engine); !fair) return fair;
    infos_.push_back((*engine)->info());
  }
  return {};
}

Result<std::unique_ptr<Engine>> PointContext::make_engine(
    std::size_t index, const DescriptorLogSpec& descriptor_log) const {
  EngineSpec spec = point_->engines[index];
  spec.descriptor_log = descriptor_log;
  for (const EngineEntry& entry : registry_->engines) {
    if (entry.kind == spec.kind) return entry.make(spec, *model_, *device_);
  }
  return bad_input(fmt::format("engine {}: no engine kind is called {}", spec.label, spec.kind));
}

Result<std::unique_ptr<RequestStream>> PointContext::open_workload() const {
  return registry_->open_workload(point_->workload);
}

OracleChecker PointContext::make_oracle(const FarHistoryRule& rule) const {
  return {registry_->make_oracle(*model_, rule), model_->shape(), rule};
}

DriveOptions PointContext::drive_options() const {
  DriveOptions options;
  options.budget = point_->budget;
  options.overlap = point_->driver.overlap;
  options.model_kind = model_->shape().kind;
  options.vocabulary = model_->shape().vocabulary;
  options.expected_requests = workload_.requests;
  options.expected_output_tokens = workload_.output_tokens;
  return options;
}

LoopMode PointContext::loop() const {
  const ArrivalSpec& arrivals = point_->workload.arrivals;
  if (arrivals.kind != ArrivalSpec::Kind::closed) return {};
  return {
      .closed = true,
      .concurrency = arrivals.concurrency > 0 ? arrivals.concurrency : point_->budget.max_batch};
}

Result<std::vector<Request>> PointContext::find_requests(std::span<const RequestId> ids) const {
  Result<std::unique_ptr<RequestStream>> stream = open_workload();
  if (!stream) return tl::unexpected(stream.error());
  std::vector<Request> found;
  while (found.size() < ids.size()) {
    Result<std::optional<Request>> request = (*stream)->next();
    if (!request) return tl::unexpected(request.error());
    if (!request->has_value()) break;
    if ((*request)->id == ids[found.size()]) found.push_back(std::move(**request));
  }
  if (found.size() == ids.size()) return found;
  return fail(ExitCode::incomplete,
              fmt::format("workload: request {} is gone when the workload is read again",
                          ids[found.size()]));
}

}  // namespace kvrm
