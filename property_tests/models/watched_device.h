// Test only: a device that lets a test see what a graph does to memory: the buffers that an engine
// took, the operations behind the graph that was replayed last with their arguments, and a hook
// before each replay. It may replay another recording of the same operations instead, made when the
// test says so.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "harness/device/device.h"
#include "harness/device/page_mapper.h"

namespace kvrm::watched {

struct Area {
  std::byte* data = nullptr;
  std::size_t bytes = 0;
  MemoryPurpose purpose = MemoryPurpose::metadata;

  bool holds(const void* place) const {
    const auto* at = static_cast<const std::byte*>(place);
    return at >= data && at < data + bytes;
  }
};

// The kernel's operation, without its target.
inline bool is_op(const Op& op, std::string_view operation) {
  const std::string_view name = op.kernel->name;
  return name.substr(0, name.find('/')) == operation;
}

class WatchedDevice final : public Device {
 public:
  explicit WatchedDevice(std::unique_ptr<Device> device) : device_(std::move(device)) {}

  std::function<void()> before_replay;

  std::span<const Area> areas() const { return areas_; }
  const Area* area_of(const void* place) const {
    const auto found =
        std::ranges::find_if(areas_, [&](const Area& area) { return area.holds(place); });
    return found == areas_.end() ? nullptr : &*found;
  }
  // Those of the graph replayed last.
  std::span<const Op> ops() const { return recorded_.at(replayed_); }
  template <class Args>
  std::vector<const Args*> args_of(std::string_view operation) const {
    std::vector<const Args*> found;
    for (const Op& op : ops()) {
      if (is_op(op, operation)) found.push_back(static_cast<const Args*>(op.args));
    }
    return found;
  }
  // Records the operations of the graph replayed last anew, as memory is now, and replays that from
  // here on. The launch hash that it has.
  std::uint64_t record_again() {
    std::unique_ptr<RecordedGraph>& again = again_[replayed_];
    again = device_->record(ops());
    return again->launch_hash();
  }

 private:
  const DeviceInfo& do_info() const override { return device_->info(); }
  Clock& do_clock() override { return device_->clock(); }
  Result<Buffer> do_allocate(const AllocationSpec& spec) override {
    Result<Buffer> buffer = device_->allocate(spec);
    if (buffer) areas_.push_back({buffer->data(), buffer->bytes(), spec.purpose});
    return buffer;
  }
  // Buffers belong to the device behind, which frees them itself.
  void do_free(std::byte*, std::size_t, MemoryPurpose) override {}
  MemoryAccount do_memory() const override { return device_->memory(); }
  PageMapper* do_page_mapper() override { return device_->page_mapper(); }
  void do_launch(const Op& op) override { device_->launch(op); }
  std::unique_ptr<RecordedGraph> do_record(std::span<const Op> ops) override {
    std::unique_ptr<RecordedGraph> graph = device_->record(ops);
    recorded_[graph.get()].assign(ops.begin(), ops.end());
    return graph;
  }
  void do_replay(const RecordedGraph& graph) override {
    replayed_ = &graph;
    if (before_replay) before_replay();
    const auto again = again_.find(&graph);
    device_->replay(again == again_.end() ? graph : *again->second);
  }
  void do_wait() override { device_->wait(); }
  DeviceRun do_last_run() const override { return device_->last_run(); }

  std::unique_ptr<Device> device_;
  std::vector<Area> areas_;
  std::map<const RecordedGraph*, std::vector<Op>> recorded_;
  std::map<const RecordedGraph*, std::unique_ptr<RecordedGraph>> again_;
  const RecordedGraph* replayed_ = nullptr;
};

}  // namespace kvrm::watched
