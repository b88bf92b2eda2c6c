#include "engines/graph/checked_graph.h"

#include <utility>

#include "harness/base/mutation.h"

namespace kvrm {

CheckedGraph::CheckedGraph(Device& device, OpList ops)
    : ops_(std::move(ops)),
      graph_(device.record(ops_.ops())),
      first_hash_(graph_->launch_hash()),
      launch_hash_(first_hash_) {}

void CheckedGraph::replay(Device& device) {
  device.replay(*graph_);
  launch_hash_ = graph_->launch_hash();
  launch_hash_changes_ +=
      KVRM_MUTATE(graph_hash_change_unseen, launch_hash_ != first_hash_, false) ? 1 : 0;
}

}  // namespace kvrm
