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
  stop_ = true;
  start_.raise();
  for (std::thread& thread : threads_) thread.join();
  if (pinned_) pin(caller_thread_, cores_);
}

void WorkerPool::run(std::span<const Op> ops) {
  if (ops.empty()) return;  // no barrier would hold the workers together
  if (workers_ > 1) {
    ops_ = ops;
    start_.raise();
  }
  run_as(0, ops, caller_phase_);
}

void WorkerPool::worker_main(std::uint32_t worker) {
  if (pinned_) pin(0, std::span(cores_).subspan(worker, 1));
  std::uint32_t phase = 0;
  for (std::uint32_t list = 0;; ++list) {
    start_.wait_past(list);
    if (stop_) return;
    run_as(worker, ops_, phase);
  }
}

void WorkerPool::run_as(std::uint32_t worker, std::span<const Op> ops, std::uint32_t& phase) {
  WorkerContext context{worker,
                        {scratch_.get() + worker * kWorkerScratchBytes, kWorkerScratchBytes}};
  for (const Op& op : ops) {
    run_items(op, context);
    if (workers_ > 1) arrive(phase);
  }
}

void WorkerPool::run_items(const Op& op, WorkerContext& context) {
  const HostKernel kernel = op.kernel->host;
  if (workers_ == 1) {
    for (std::uint32_t item = 0; item < op.items; ++item) kernel(op.args, item, context);
    return;
  }
  while (true) {
    const std::uint32_t item = next_item_.fetch_add(1, std::memory_order_relaxed);
    if (item >= op.items) return;
    kernel(op.args, item, context);
  }
}

void WorkerPool::arrive(std::uint32_t& phase) {
  // Release and acquire chain over all arrivals, so the last one has seen every worker's writes and
  // passes them on by raising the barrier.
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == workers_) {
    arrived_.store(0, std::memory_order_relaxed);
    next_item_.store(0, std::memory_order_relaxed);
    barrier_.raise();
  } else {
    barrier_.wait_past(phase);
  }
  ++phase;
}

}  // namespace kvrm
