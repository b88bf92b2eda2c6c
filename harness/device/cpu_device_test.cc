// The CPU backend: every item once, a barrier between operations, in order, whether the caller
// works or goes on.
#include "harness/device/cpu_device.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "harness/device/chain_program.h"
#include "harness/device/machine_limits.h"
#include "harness/device/worker_pool.h"

namespace kvrm {
namespace {

// Launches and replays of two programs in any order; without `async` each has ended on return.
RC_GTEST_PROP(CpuDevice, LaunchesAndReplaysRunEveryItemOnceInOrder, ()) {
  const auto threads = *rc::gen::inRange<std::uint32_t>(1, 5);
  const bool async = *rc::gen::arbitrary<bool>();
  const auto items = *rc::gen::container<std::vector<std::uint32_t>>(
      rc::gen::weightedOneOf<std::uint32_t>({{3, rc::gen::inRange<std::uint32_t>(0, 8)},
                                             {1, rc::gen::inRange<std::uint32_t>(8, 600)}}));
  const auto runs = *rc::gen::container<std::vector<bool>>(rc::gen::arbitrary<bool>());
  const auto device = make_device({.workers = threads, .async = async});
  ChainProgram replayed(items);
  const auto graph = device->record(replayed.ops());
  ChainProgram eager(items);
  int replays = 0;
  int launches = 0;
  for (const bool replay : runs) {
    if (replay) {
      device->replay(*graph);
      ++replays;
    } else {
      for (const Op& op : eager.ops()) device->launch(op);
      ++launches;
    }
    if (*rc::gen::inRange(0, 3) == 0) device->wait();
  }
  if (async) device->wait();
  RC_ASSERT(replayed.arrays() == replayed.expected(replays));
  RC_ASSERT(eager.arrays() == eager.expected(launches));
}

TEST(CpuDevice, ManyReplaysWithAndWithoutSleepingWorkers) {
  for (const bool async : {false, true}) {
    const auto device = make_device({.workers = 3, .async = async});
    ChainProgram program({1, 5, 0, 2, 17});
    const auto graph = device->record(program.ops());
    constexpr int kReplays = 1500;
    for (int run = 0; run < kReplays; ++run) {
      // Every 100th pause is longer than workers spin, so that both ways of waking are taken.
      if (run % 100 == 99) std::this_thread::sleep_for(std::chrono::microseconds(300));
      device->replay(*graph);
      if (run % 3 != 0) device->wait();
    }
    device->wait();
    EXPECT_EQ(program.arrays(), program.expected(kReplays));
  }
}

TEST(CpuDevice, EndsWhileWorkersSpinAndWhileTheySleep) {
  for (const int pause_us : {0, 20, 500}) {
    for (const bool async : {false, true}) {
      ChainProgram program({4, 4});
      {
        const auto device = make_device({.workers = 4, .async = async});
        for (const Op& op : program.ops()) device->launch(op);
        std::this_thread::sleep_for(std::chrono::microseconds(pause_us));
      }
      EXPECT_EQ(program.arrays(), program.expected(1)) << "what was launched ends first";
    }
  }
}

// Holds its worker until the caller opens it; gives up after a while, so that a device that does
// not let the caller go on fails instead of hanging.
struct GateArgs {
  std::atomic<bool>* open = nullptr;
  std::atomic<bool>* was_open = nullptr;
  std::atomic<bool>* ended = nullptr;
};
void gate(const void* raw, std::uint32_t, WorkerContext&) {
  const auto& args = *static_cast<const GateArgs*>(raw);
  for (int wait = 0; wait < 5000 && !*args.open; ++wait) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  *args.was_open = args.open->load();
  *args.ended = true;
}
constexpr Kernel kGate{"test/gate", &gate};

class Gate {
 public:
  Op op() { return {&kGate, &args_, sizeof(args_), 1}; }
  void open() { open_ = true; }
  bool was_open() const { return was_open_; }
  bool ended() const { return ended_; }

 private:
  std::atomic<bool> open_ = false;
  std::atomic<bool> was_open_ = false;
  std::atomic<bool> ended_ = false;
  GateArgs args_{&open_, &was_open_, &ended_};
};

TEST(AsyncDevice, LetsTheCallerGoOn) {
  const auto device = make_device({.workers = 2, .async = true});
  EXPECT_TRUE(device->info().asynchronous);
  Gate first;
  Gate second;
  const Op op = first.op();
  const auto graph = device->record({&op, 1});
  device->replay(*graph);
  device->launch(second.op());
  EXPECT_FALSE(first.ended());
  first.open();
  second.open();
  device->wait();
  EXPECT_TRUE(first.was_open());
  EXPECT_TRUE(second.was_open());
}

TEST(AsyncDevice, AFullQueueLosesNothing) {
  const auto device = make_device({.workers = 3, .async = true});
  Gate gate;
  ChainProgram program({2, 1});
  device->launch(gate.op());
  constexpr int kRuns = WorkerPool::kQueuedLists / 2;
  for (int run = 0; run + 1 < kRuns; ++run) {
    for (const Op& op : program.ops()) device->launch(op);
  }
  EXPECT_FALSE(gate.ended());
  // The next launches find the queue full until the gate has opened.
  std::thread opener([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    gate.open();
  });
  for (int run = 0; run < kRuns; ++run) {
    for (const Op& op : program.ops()) device->launch(op);
  }
  device->wait();
  opener.join();
  EXPECT_TRUE(gate.was_open());
  EXPECT_EQ(program.arrays(), program.expected(2 * kRuns - 1));
}

TEST(AsyncDevice, WorkersAreOneFewerAndAwayFromTheCaller) {
  const auto cores = process_cores();
  const auto plain = make_device({});
  const auto device = make_device({.async = true});
  EXPECT_EQ(device->info().workers, std::max(plain->info().workers, 2U) - 1);
  EXPECT_EQ(make_device({.workers = 1, .async = true})->info().workers, 1U);
  if (cores.size() < 2) GTEST_SKIP() << "one core: nothing is pinned";
  struct Args {
    int* core;
  };
  int core = -1;
  const Args args{&core};
  const Kernel kernel{"test/core", [](const void* raw, std::uint32_t, WorkerContext&) {
                        *static_cast<const Args*>(raw)->core = sched_getcpu();
                      }};
  device->launch({&kernel, &args, sizeof(args), 1});
  device->wait();
  EXPECT_NE(core, -1);
  EXPECT_NE(core, static_cast<int>(cores[0]));
  EXPECT_EQ(sched_getcpu(), static_cast<int>(cores[0]));
}

struct TimeArgs {
  Clock* clock;
  Nanoseconds* time;
};
void note_time(const void* raw, std::uint32_t, WorkerContext&) {
  const auto& args = *static_cast<const TimeArgs*>(raw);
  *args.time = args.clock->now();
}
constexpr Kernel kNoteTime{"test/note_time", &note_time};

TEST(CpuDevice, TheLastRunIsWhatLiesBetweenTwoWaits) {
  for (const std::uint32_t threads : {1U, 2U, 3U}) {
    for (const bool async : {false, true}) {
      const auto device = make_device({.workers = threads, .async = async});
      Nanoseconds first = 0;
      Nanoseconds second = 0;
      const TimeArgs first_args{&device->clock(), &first};
      const TimeArgs second_args{&device->clock(), &second};
      const Nanoseconds before = device->clock().now();
      device->launch({&kNoteTime, &first_args, sizeof(first_args), 1});
      device->launch({&kNoteTime, &second_args, sizeof(second_args), 1});
      device->wait();
      const DeviceRun run = device->last_run();
      EXPECT_LE(before, run.begin);
      EXPECT_LE(run.begin, first);
      EXPECT_LE(first, second);
      EXPECT_LE(second, run.end);
      EXPECT_LE(run.end, device->clock().now());
      EXPECT_LT(0, run.busy);
      EXPECT_LE(run.busy, run.end - run.begin);
      device->wait();
      EXPECT_EQ(device->last_run().begin, run.begin) << "nothing ran";
      device->launch({&kNoteTime, &first_args, sizeof(first_args), 1});
      device->wait();
      EXPECT_LE(run.end, device->last_run().begin);
      EXPECT_LE(device->last_run().begin, first);
    }
  }
}

TEST(AsyncDevice, TimeWithoutWorkIsNotBusy) {
  const auto device = make_device({.workers = 2, .async = true});
  // A worker may be held up between the gate's end and the list's, so not every try shows a gap.
  bool seen = false;
  for (int attempt = 0; attempt < 100 && !seen; ++attempt) {
    Gate first;
    Gate second;
    second.open();
    first.open();
    device->launch(first.op());
    while (!first.ended()) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    device->launch(second.op());
    device->wait();
    const DeviceRun run = device->last_run();
    seen = run.end - run.begin - run.busy > kNanosecondsPerMillisecond;
  }
  EXPECT_TRUE(seen);
}

TEST(CpuDevice, AffinityOfTheCallerIsGivenBack) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  {
    const auto device = make_device({});
    EXPECT_LE(device->info().workers, static_cast<std::uint32_t>(CPU_COUNT(&before)));
    const auto second = make_device({});
    EXPECT_EQ(second->info().workers, device->info().workers)
        << "a pinned caller must not shrink the next device";
  }
  cpu_set_t after;
  ASSERT_EQ(sched_getaffinity(0, sizeof(after), &after), 0);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

TEST(CpuDevice, RefusesAnAbsurdNumberOfWorkers) {
  const auto device = make_cpu_device({.workers = 100'000});
  ASSERT_FALSE(device.has_value());
  EXPECT_EQ(device.error().code, ExitCode::bad_input);
}

}  // namespace
}  // namespace kvrm
