#include "property_tests/simulation/sim_device.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "property_tests/simulation/record_attack.h"

namespace kvrm::simulation {
namespace {

tl::unexpected<Error> refused() {
  return fail(ExitCode::incomplete, "the simulator refuses this allocation");
}

// All ones are NaN as f32, f16 and bf16, and no token.
void poison(Result<Buffer>& buffer) {
  if (buffer) std::ranges::fill(buffer->as<std::byte>(), std::byte{0xff});
}

}  // namespace

SimDevice::SimDevice(std::unique_ptr<Device> device, const KernelSet& kernels, Canary canary)
    : device_(std::move(device)),
      mapper_(*this, *device_->page_mapper()),
      copies_{kernels.append_kv, kernels.gather_groups, kernels.copy_blocks, kernels.stage_groups,
              kernels.view_slots},
      canary_(canary),
      random_(0, "fault") {}

bool SimDevice::refuses_allocation() {
  return allocations_until_failure_ > 0 && --allocations_until_failure_ == 0;
}

Result<Buffer> SimDevice::do_allocate(const AllocationSpec& spec) {
  if (refuses_allocation()) return refused();
  Result<Buffer> buffer = device_->allocate(spec);
  const bool poisoned = spec.purpose == MemoryPurpose::kv_pool ||
                        spec.purpose == MemoryPurpose::kv_view ||
                        spec.purpose == MemoryPurpose::activations;
  if (poisoned) poison(buffer);
  return buffer;
}

Result<Buffer> SimDevice::Mapper::do_allocate_pool(std::size_t bytes) {
  if (device_.refuses_allocation()) return refused();
  Result<Buffer> pool = mapper_.allocate_pool(bytes);
  poison(pool);
  return pool;
}

Result<MappedView> SimDevice::Mapper::do_reserve_view(std::size_t bytes) {
  if (device_.refuses_allocation()) return refused();
  return mapper_.reserve_view(bytes);
}

std::unique_ptr<RecordedGraph> SimDevice::do_record(std::span<const Op> ops) {
  if (!ops.empty() && ops.front().kernel == &apply_step_kernel()) {
    apply_args_ = static_cast<const ApplyStepArgs*>(ops.front().args);
    note_appends(ops);
  }
  return std::make_unique<Graph>(ops, device_->record(ops));
}

// Those into the pool; the ones into a view write where their own rows say.
void SimDevice::note_appends(std::span<const Op> ops) {
  const StepImage image = place_step_image(apply_args_->image, apply_args_->limits.shape);
  append_args_.clear();
  for (const Op& op : ops) {
    if (op.kernel != copies_.front()) continue;
    const auto* args = static_cast<const AppendKvArgs*>(op.args);
    if (args->write_slot == image.rows.write_slot) append_args_.push_back(args);
  }
}

void SimDevice::arm(Fault fault, std::uint64_t seed) {
  armed_ = fault;
  random_ = RandomStream(seed, "fault");
  fired_ = false;
}

bool SimDevice::disarm() {
  do_wait();
  armed_.reset();
  return std::exchange(fired_, false);
}

void SimDevice::do_launch(const Op& op) {
  if (!armed_ || damages_record(*armed_)) return device_->launch(op);
  if (*armed_ == Fault::transport_delayed) {
    delayed_.emplace_back(op);
    fired_ = true;
    return;
  }
  run_disturbed(op);
}

void SimDevice::do_replay(const RecordedGraph& recorded) {
  const auto& graph = static_cast<const Graph&>(recorded);
  if (!armed_) {
    sing(graph);
  } else if (damages_record(*armed_)) {
    replay_under_attack(graph);
  } else {
    replay_disturbed(graph);
  }
}

void SimDevice::do_wait() {
  for (const auto& work : std::exchange(delayed_, {})) {
    if (const auto* graph = std::get_if<const Graph*>(&work)) {
      device_->replay(*(*graph)->inner);
    } else {
      device_->launch(std::get<Op>(work));
    }
  }
  device_->wait();
}

void SimDevice::replay_under_attack(const Graph& graph) {
  if (graph.ops.front().kernel != &apply_step_kernel()) return device_->replay(*graph.inner);
  const auto& args = *static_cast<const ApplyStepArgs*>(graph.ops.front().args);
  const bool applied_first = *armed_ == Fault::record_twice;
  if (applied_first) device_->launch(graph.ops.front());
  const AttackResult result = attack_image(args, *armed_, random_);
  fired_ |= result.made;
  if (violation_.empty()) violation_ = result.violation;
  if (!applied_first) return device_->replay(*graph.inner);
  for (const Op& op : std::span(graph.ops).subspan(1)) device_->launch(op);
}

void SimDevice::replay_disturbed(const Graph& graph) {
  if (*armed_ == Fault::transport_delayed) {
    delayed_.emplace_back(&graph);
    fired_ = true;
    return;
  }
  for (const Op& op : graph.ops) run_disturbed(op);
}

bool SimDevice::is_copy(const Op& op) const {
  return std::ranges::find(copies_, op.kernel) != copies_.end();
}

void SimDevice::run_disturbed(const Op& op) {
  std::vector<std::uint32_t> items(op.items);
  std::iota(items.begin(), items.end(), 0U);
  switch (*armed_) {
    case Fault::transport_twice:
      if (!is_copy(op)) break;
      fired_ = true;
      run_items(op, items);
      break;
    case Fault::transport_partial: {
      if (!is_copy(op)) break;
      fired_ = true;
      const std::vector<std::uint32_t> order = shuffled(op.items);
      run_items(op, std::span(order).first(random_.below(op.items + 1)));
      break;
    }
    case Fault::transport_reordered:
    case Fault::worker_stalled:
      fired_ |= op.items > 1;
      items = shuffled(op.items);
      break;
    default:
      break;
  }
  run_items(op, items);
}

std::vector<std::uint32_t> SimDevice::shuffled(std::uint32_t count) {
  std::vector<std::uint32_t> items(count);
  std::iota(items.begin(), items.end(), 0U);
  for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[random_.below(i)]);
  return items;
}

// Items at random on two workers; where one stalls, a third has the last item, and ends last.
void SimDevice::run_items(const Op& op, std::span<const std::uint32_t> items) {
  scratch_.resize(3 * kWorkerScratchBytes + 64);
  const auto begin = reinterpret_cast<std::uintptr_t>(scratch_.data());
  std::byte* aligned = scratch_.data() + (64 - begin % 64) % 64;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const bool stalled = *armed_ == Fault::worker_stalled && i + 1 == items.size();
    const std::uint64_t worker = stalled ? 2 : random_.below(2);
    WorkerContext context{.worker = 0,
                          .scratch = {aligned + worker * kWorkerScratchBytes, kWorkerScratchBytes}};
    op.kernel->host(op.args, items[i], context);
  }
}

// A replay on a device that may be broken: in steps that have a row at certain positions, so that
// few commands bring it about.
void SimDevice::sing(const Graph& graph) {
  if (canary_ == Canary::none || graph.ops.front().kernel != &apply_step_kernel()) {
    return device_->replay(*graph.inner);
  }
  device_->launch(graph.ops.front());
  const StepImageShape& shape = apply_args_->limits.shape;
  const RowArrays rows = place_step_image(apply_args_->image, shape).rows;
  bool now = false;
  for (std::uint32_t row = 0; row < shape.slots; ++row) now |= rows.position[row] % 11 == 5;
  for (const Op& op : std::span(graph.ops).subspan(1)) {
    const bool lost = canary_ == Canary::lost_copy && now && is_copy(op);
    if (!lost) device_->launch(op);
  }
  if (canary_ == Canary::image_bit && now) apply_args_->image[0] ^= std::byte{1};
}

}  // namespace kvrm::simulation
