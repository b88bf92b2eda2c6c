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

WorkerPool::WorkerPool(const WorkerPoolSpec& spec)
    : workers_(spec.workers),
      caller_works_(spec.caller_works),
      cores_(spec.cores.begin(), spec.cores.end()),
      pinned_(threads() > 1 && cores_.size() >= threads()),
      caller_thread_(gettid()),
      scratch_(allocate_scratch(spec.workers * kWorkerScratchBytes), &free_scratch),
      queue_(kQueuedLists) {
  KVRM_CHECK_LE(1U, workers_);
  const std::uint32_t first = caller_works_ ? 1 : 0;
  threads_.reserve(workers_ - first);
  for (std::uint32_t worker = first; worker < workers_; ++worker) {
    // The first core is the caller's, whether it works or not.
    const std::uint32_t core_index = worker + 1 - first;
    threads_.emplace_back([this, worker, core_index] { worker_main(worker, core_index); });
  }
  if (pinned_) pin(caller_thread_, std::span(cores_).first(1));
}

WorkerPool::~WorkerPool() {
  wait();
  stop_.store(true, std::memory_order_release);
  news_.raise();
  for (std::thread& thread : threads_) thread.join();
  if (pinned_) pin(caller_thread_, cores_);
}

WorkerContext WorkerPool::context(std::uint32_t worker) const {
  return {worker, {scratch_.get() + worker * kWorkerScratchBytes, kWorkerScratchBytes}};
}

void WorkerPool::run(std::span<const Op> ops) {
  if (threads() == 1) return run_alone(ops);
  wait_for_room();
  queue_[tail_ % kQueuedLists].ops = ops;
  publish();
}

void WorkerPool::run(const Op& op) {
  if (threads() == 1) return run_alone({&op, 1});
  wait_for_room();
  QueuedList& list = queue_[tail_ % kQueuedLists];
  list.single = op;
  list.ops = {&list.single, 1};
  publish();
}

void WorkerPool::run_alone(std::span<const Op> ops) {
  WorkerContext caller = context(0);
  if (run_.begin == kNotYet) run_.begin = clock_.now();
  for (const Op& op : ops) {
    for (std::uint32_t item = 0; item < op.items; ++item) op.kernel->host(op.args, item, caller);
  }
  run_.end = clock_.now();
  run_.busy = run_.end - run_.begin;
}

// An entry is free once its list has ended; a caller that works never leaves one behind.
void WorkerPool::wait_for_room() {
  if (pending_.load(std::memory_order_acquire) < kQueuedLists) return;
  wait_until_at_most(kQueuedLists / 2);
}

void WorkerPool::publish() {
  ++tail_;
  // Release: the entry to whoever opens it. Acquire: with nothing pending, all that the last list's
  // end left behind.
  if (pending_.fetch_add(1, std::memory_order_acq_rel) == 0) {
    open_list(caller_works_ && run_.begin != kNotYet ? run_.end : kNotYet);
  }
  if (caller_works_) work_until_idle();
}

void WorkerPool::work_until_idle() {
  WorkerContext caller = context(0);
  while (true) {
    const std::uint32_t seen = news_.value();
    run_open_items(caller);
    if (pending_.load(std::memory_order_acquire) == 0) return;
    news_.wait_past(seen);
  }
}

void WorkerPool::wait() {
  if (!caller_works_) wait_until_at_most(0);
  if (run_.begin == kNotYet) return;
  last_run_ = run_;
  run_ = nothing_ran();
}

void WorkerPool::wait_until_at_most(std::uint32_t pending) {
  // Sequentially consistent against end_list(): either the number is seen here, or the wish there.
  wake_at_.store(pending, std::memory_order_seq_cst);
  while (true) {
    const std::uint32_t seen = idle_.value();
    if (pending_.load(std::memory_order_seq_cst) <= pending) return;
    idle_.wait_past(seen);
  }
}

void WorkerPool::worker_main(std::uint32_t worker, std::uint32_t core_index) {
  if (pinned_) pin(0, std::span(cores_).subspan(core_index, 1));
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
    // One worker at most has an item 0, and operations follow one another.
    if (taken->item == 0 && list_begin_ == kNotYet) list_begin_ = clock_.now();
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

// `begin` is when the list began, where that is known before its first item starts.
void WorkerPool::open_list(Nanoseconds begin) {
  list_begin_ = begin;
  ops_ = queue_[head_ % kQueuedLists].ops;
  open_from(0);
}

// Opens the first operation from `op` on that has items; without one the list has ended, and the
// next one opens.
void WorkerPool::open_from(std::size_t op) {
  while (true) {
    while (op < ops_.size() && ops_[op].items == 0) ++op;
    if (op < ops_.size()) {
      unended_.store(ops_[op].items, std::memory_order_relaxed);
      ticket_.store(make_ticket(op, ops_[op].items), std::memory_order_release);
      news_.raise();
      return;
    }
    if (!end_list()) return;
    list_begin_ = run_.end;
    ops_ = queue_[head_ % kQueuedLists].ops;
    op = 0;
  }
}

// True: another list is in the queue, and this thread is the one to open it. Otherwise nothing but
// the signals may be touched from here on.
bool WorkerPool::end_list() {
  run_.end = clock_.now();
  if (list_begin_ == kNotYet) list_begin_ = run_.end;
  if (run_.begin == kNotYet) run_.begin = list_begin_;
  run_.busy += run_.end - list_begin_;
  ++head_;
  const std::uint32_t left = pending_.fetch_sub(1, std::memory_order_seq_cst) - 1;
  if (caller_works_) {
    news_.raise();
  } else if (left == wake_at_.load(std::memory_order_seq_cst)) {
    idle_.raise();
  }
  return left != 0;
}

}  // namespace kvrm
