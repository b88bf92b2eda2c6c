// Persistent workers that run lists of operations in order, each one whole before the next begins.
// The calling thread is worker 0; the others are pinned one to a core and wait between lists.
// Running takes no lock and allocates nothing. One thread calls run() at a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "harness/device/device.h"
#include "harness/device/phase_signal.h"

namespace kvrm {

// The life of a list, n workers:
//   1. run() stores the list and opens its first operation: the ticket says which operation is open
//      and how many of its items nobody has taken.
//   2. Whoever takes an item from the ticket may read the list, since the list cannot end before
//      that item has.
//   3. Whoever ends an operation's last item opens the next operation, or ends the list.
//   4. run() returns when the list has ended. A worker that the system does not run holds nothing
//      and delays nobody; when it comes back it finds whatever is open then.
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
  struct Item {
    std::size_t op = 0;  // index in ops_
    std::uint32_t item = 0;
  };

  void run_alone(std::span<const Op> ops);
  void worker_main(std::uint32_t worker);
  void run_open_items(WorkerContext& context);
  std::optional<Item> take_item();
  void open_from(std::size_t op);
  WorkerContext context(std::uint32_t worker) const;

  const std::uint32_t workers_;
  std::vector<std::uint32_t> cores_;
  bool pinned_ = false;
  int caller_thread_ = 0;
  std::unique_ptr<std::byte[], void (*)(std::byte*)> scratch_;

  std::span<const Op> ops_;  // the list; read only by who holds one of its items
  alignas(64) std::atomic<std::uint64_t> ticket_{0};   // index of the open operation, items to take
  alignas(64) std::atomic<std::uint32_t> unended_{0};  // items of the open operation
  std::atomic<bool> running_{false};
  std::atomic<bool> stop_{false};
  PhaseSignal news_;  // raised when an operation opens, a list ends, or the pool stops
  std::vector<std::thread> threads_;
};

}  // namespace kvrm
