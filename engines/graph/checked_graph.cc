#include "engines/graph/checked_graph.h"

#include <utility>

namespace kvrm {

CheckedGraph::CheckedGraph(Device& device, OpList ops)
    : ops_(std::move(ops)),
      graph_(device.record(ops_.ops())),
      first_hash_(graph_->launch_hash()),
      launch_hash_(first_hash_) {}

void CheckedGraph::replay(Device& device) {
  device.replay(*graph_);
  launch_hash_ = graph_->launch_hash();
  launch_hash_changes_ += launch_hash_ != first_hash_ ? 1 : 0;
}

}  // namespace kvrm
