// A recorded graph that knows whether it is still the graph that was recorded: it counts its
// replays and compares the launch hash at each one. Which graph to replay is the engine's business.
#pragma once

#include <cstdint>
#include <memory>

#include "engines/graph/op_list.h"
#include "harness/device/device.h"

namespace kvrm {

class CheckedGraph {
 public:
  // Records the list; `ops` lives, unchanged, inside this object.
  CheckedGraph(Device& device, OpList ops);

  // Starts it; Device::wait() returns when it has ended. Hashes what was started as well, at every
  // replay: hashing reads the arguments once, about 30 ns an operation, and what runs only reads
  // them too.
  void replay(Device& device);

  std::uint64_t launch_hash() const {
    return launch_hash_;
  }  // of the last replay, else of record()
  std::uint64_t launch_hash_changes() const { return launch_hash_changes_; }
  std::uint64_t launch_signature() const { return graph_->launch_signature(); }
  // Host memory of operations and arguments.
  std::size_t bytes() const { return ops_.bytes() + graph_->bytes(); }

 private:
  OpList ops_;
  std::unique_ptr<RecordedGraph> graph_;
  std::uint64_t first_hash_ = 0;
  std::uint64_t launch_hash_ = 0;
  std::uint64_t launch_hash_changes_ = 0;
};

}  // namespace kvrm
