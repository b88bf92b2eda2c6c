#include "harness/device/worker_pool.h"

#include <sched.h>
#include <unistd.h>

#include <new>

#include "harness/base/check.h"

namespace kvrm {
namespace {

constexpr std::align_val_t kScratchAlignment{64};

std::byte* allocate_scratch(std::size_t bytes) {
  return static_cast<std::byte*>(::operator new(bytes, kScratchAlignment));
}
void free_scratch(std::byte* scratch) { ::operator delete(scratch, kScratchAlignment); }

// Failure leaves the thread where it was, which is correct and only slower.
void pin(int thread, std::span<const std::uint32_t> cores) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  for (const std::uint32_t core : cores) CPU_SET(core, &mask);
  sched_setaffinity(thread, sizeof(mask), &mask);
}

constexpr std::uint64_t make_ticket(std::size_t op, std::uint32_t items) {
  return std::uint64_t{op} << 32 | items;
}
constexpr std::size_t open_op(std::uint64_t ticket) { return ticket >> 32; }
constexpr std::uint32_t untaken(std::uint64_t ticket) { return static_cast<std::uint32_t>(ticket); }

}  // namespace

WorkerPool::WorkerPool(std::uint32_t workers, std::span<const std::uint32_t> cores)
    : workers_(workers),
      cores_(cores.begin(), cores.end()),
      pinned_(workers > 1 && cores.size() >= workers),
      caller_thread_(gettid()),
      scratch_(allocate_scratch(workers * kWorkerScratchBytes), &free_scratch) {
  KVRM_CHECK_LE(1U, workers);
  threads_.reserve(workers - 1);
  for (std::uint32_t worker = 1; worker < workers; ++worker) {
    threads_.emplace_back([this, worker] { worker_main(worker); });
  }
  if (pinned_) pin(caller_thread_, std::span(cores_).first(1));
}

WorkerPool::~WorkerPool() {
  stop_.store(true, std::memory_order_release);
  news_.raise();
  for (std::thread& thread : threads_) thread.join();
  if (pinned_) pin(caller_thread_, cores_);
}

WorkerContext WorkerPool::context(std::uint32_t worker) const {
  return {worker, {scratch_.get() + worker * kWorkerScratchBytes, kWorkerScratchBytes}};
}

void WorkerPool::run(std::span<const Op> ops) {
  if (workers_ == 1) return run_alone(ops);
  WorkerContext caller = context(0);
  ops_ = ops;
  running_.store(true, std::memory_order_relaxed);
  open_from(0);
  while (true) {
    const std::uint32_t seen = news_.value();
    run_open_items(caller);
    if (!running_.load(std::memory_order_acquire)) return;
    news_.wait_past(seen);
  }
}

void WorkerPool::run_alone(std::span<const Op> ops) {
  WorkerContext caller = context(0);
  for (const Op& op : ops) {
    for (std::uint32_t item = 0; item < op.items; ++item) op.kernel->host(op.args, item, caller);
  }
}

void WorkerPool::worker_main(std::uint32_t worker) {
  if (pinned_) pin(0, std::span(cores_).subspan(worker, 1));
  WorkerContext own = context(worker);
  while (true) {
    const std::uint32_t seen = news_.value();  // before looking, so that no news is missed
    run_open_items(own);
    if (stop_.load(std::memory_order_acquire)) return;
    news_.wait_past(seen);
  }
}

void WorkerPool::run_open_items(WorkerContext& context) {
  while (const std::optional<Item> taken = take_item()) {
    const Op& op = ops_[taken->op];
    op.kernel->host(op.args, taken->item, context);
    // Release and acquire chain over all items, so that who ends the last one has seen every
    // worker's writes and passes them on by opening the next operation.
    if (unended_.fetch_sub(1, std::memory_order_acq_rel) == 1) open_from(taken->op + 1);
  }
}

std::optional<WorkerPool::Item> WorkerPool::take_item() {
  std::uint64_t ticket = ticket_.load(std::memory_order_relaxed);
  while (untaken(ticket) != 0) {
    if (ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acquire,
                                      std::memory_order_relaxed)) {
      const std::size_t op = open_op(ticket);
      return Item{op, ops_[op].items - untaken(ticket)};
    }
  }
  return std::nullopt;
}

// Opens the first operation from `op` on that has items; without one the list has ended.
void WorkerPool::open_from(std::size_t op) {
  while (op < ops_.size() && ops_[op].items == 0) ++op;
  if (op < ops_.size()) {
    unended_.store(ops_[op].items, std::memory_order_relaxed);
    ticket_.store(make_ticket(op, ops_[op].items), std::memory_order_release);
  } else {
    running_.store(false, std::memory_order_release);
  }
  news_.raise();
}

}  // namespace kvrm
