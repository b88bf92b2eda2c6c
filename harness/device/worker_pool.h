// Persistent workers that run lists of operations in order, each one whole before the next begins.
// The calling thread is worker 0, or none of them; the others are pinned one to a core and wait
// between lists. Running takes no lock and allocates nothing. One thread calls in.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "harness/contract/device_run.h"
#include "harness/device/clock.h"
#include "harness/device/device.h"
#include "harness/device/phase_signal.h"

namespace kvrm {

// Who works. Where `cores` has one for each thread, the caller's included, all are pinned: the
// calling thread to the first until destruction.
struct WorkerPoolSpec {
  std::uint32_t workers = 1;  // at least 1
  bool caller_works = true;   // run() works as worker 0; false: run() returns at once
  std::span<const std::uint32_t> cores;
};

// The life of a list, n workers:
//   1. run() puts the list into the queue. Where the queue was empty it opens the list itself,
//      else whoever ends the list before does; so one thread at a time has that right.
//   2. Opening a list opens its first operation: the ticket says which operation is open and how
//      many of its items nobody has taken.
//   3. Whoever takes an item from the ticket may read the list, since the list cannot end before
//      that item has.
//   4. Whoever ends an operation's last item opens the next operation, or ends the list.
//   5. wait() returns when the queue is empty. A worker that the system does not run holds nothing
//      and delays nobody; when it comes back it finds whatever is open then.
class WorkerPool {
 public:
  explicit WorkerPool(const WorkerPoolSpec& spec);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Runs every item of every operation once, operation by operation, after what came before. The
  // operations stay put until wait() has returned; a single one is copied.
  void run(std::span<const Op> ops);
  void run(const Op& op);
  // Returns when everything has ended.
  void wait();
  // What ran between the last two calls of wait() that had something to wait for.
  const DeviceRun& last_run() const { return last_run_; }

  // Lists that may wait; run() waits for room in a full queue.
  static constexpr std::uint32_t kQueuedLists = 1024;

 private:
  static constexpr Nanoseconds kNotYet = -1;

  struct QueuedList {
    std::span<const Op> ops;
    Op single;
  };
  struct Item {
    std::size_t op = 0;  // index in ops_
    std::uint32_t item = 0;
  };

  std::uint32_t threads() const { return workers_ + (caller_works_ ? 0 : 1); }
  DeviceRun nothing_ran() const {
    return {.begin = kNotYet, .end = 0, .busy = 0, .concurrent = !caller_works_};
  }
  void run_alone(std::span<const Op> ops);
  void wait_for_room();
  void publish();
  void work_until_idle();
  void wait_until_at_most(std::uint32_t pending);
  void worker_main(std::uint32_t worker, std::uint32_t core_index);
  void run_open_items(WorkerContext& context);
  std::optional<Item> take_item();
  void open_list(Nanoseconds begin);
  void open_from(std::size_t op);
  bool end_list();
  WorkerContext context(std::uint32_t worker) const;

  const std::uint32_t workers_;
  const bool caller_works_;
  std::vector<std::uint32_t> cores_;
  bool pinned_ = false;
  int caller_thread_ = 0;
  std::unique_ptr<std::byte[], void (*)(std::byte*)> scratch_;
  SteadyClock clock_;

  std::vector<QueuedList> queue_;  // a ring
  std::uint32_t tail_ = 0;         // the caller's: lists put in
  DeviceRun last_run_;             // the caller's

  // Of whoever may open and end lists. The caller touches them while nothing is pending.
  std::uint32_t head_ = 0;  // lists ended
  Nanoseconds list_begin_ = kNotYet;
  DeviceRun run_ = nothing_ran();
  std::span<const Op> ops_;  // the open list; read only by who holds one of its items

  alignas(64) std::atomic<std::uint64_t> ticket_{0};   // index of the open operation, items to take
  alignas(64) std::atomic<std::uint32_t> unended_{0};  // items of the open operation
  alignas(64) std::atomic<std::uint32_t> pending_{0};  // lists put in and not ended
  std::atomic<std::uint32_t> wake_at_{0};              // of pending_, at which idle_ is raised
  std::atomic<bool> stop_{false};
  PhaseSignal news_;  // raised when an operation opens, or the pool stops
  PhaseSignal idle_;  // raised when the caller may find what it waits for
  std::vector<std::thread> threads_;
};

}  // namespace kvrm
