// Persistent workers that run lists of operations with a barrier between them. The calling thread
// is worker 0; the others are pinned one to a core and wait between lists. Running takes no lock
// and allocates nothing. One thread calls run() at a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "harness/device/device.h"
#include "harness/device/phase_signal.h"

namespace kvrm {

// The life of a list, n workers:
//   1. run() stores the list and raises start_; workers 1 to n-1 see it.
//   2. Each worker takes items of the operation from next_item_ until none is left, then arrives.
//   3. The last to arrive resets next_item_ and raises barrier_; all go on with the next operation.
//   4. After the last operation's barrier run() returns. A worker that is late to leave that
//   barrier
//      cannot miss a list, since no barrier of the next one opens without it.
class WorkerPool {
 public:
  // At least one worker. Where `cores` has one for each worker they are pinned, the calling thread
  // to the first until destruction.
  WorkerPool(std::uint32_t workers, std::span<const std::uint32_t> cores);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Runs every item of every operation once, operation by operation.
  void run(std::span<const Op> ops);

 private:
  void worker_main(std::uint32_t worker);
  void run_as(std::uint32_t worker, std::span<const Op> ops, std::uint32_t& phase);
  void run_items(const Op& op, WorkerContext& context);
  void arrive(std::uint32_t& phase);

  const std::uint32_t workers_;
  std::vector<std::uint32_t> cores_;
  bool pinned_ = false;
  int caller_thread_ = 0;
  std::unique_ptr<std::byte[], void (*)(std::byte*)> scratch_;

  std::span<const Op> ops_;  // written before start_ is raised
  bool stop_ = false;        // likewise
  std::uint32_t caller_phase_ = 0;
  PhaseSignal start_;
  PhaseSignal barrier_;
  alignas(64) std::atomic<std::uint32_t> next_item_{0};
  alignas(64) std::atomic<std::uint32_t> arrived_{0};
  std::vector<std::thread> threads_;
};

}  // namespace kvrm
