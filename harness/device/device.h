// What a backend supplies to engines: memory accounted by purpose, operations launched one by one
// or recorded once and replayed, and a clock. Engines hold a Device& and never know which backend
// it is.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "harness/base/result.h"
#include "harness/contract/device_run.h"
#include "harness/device/clock.h"

namespace kvrm {

enum class MemoryPurpose : std::uint8_t {
  kv_pool,  // block pools, and the slots of `static`
  kv_view,  // staging views
  weights,
  activations,
  metadata,  // step images, block tables, records
  graph,
};
inline constexpr std::size_t kMemoryPurposes = 6;

// Pages behind memory: huge ones for KV where the machine has them, or the smallest in any case.
enum class MemoryPages : std::uint8_t { preferred, base };

struct AllocationSpec {
  MemoryPurpose purpose = MemoryPurpose::metadata;
  std::size_t bytes = 0;
  MemoryPages pages = MemoryPages::preferred;
};

class Device;
class PageMapper;  // page_mapper.h

// Device memory with an owner; gives its bytes back to the device's account when it goes. The
// device must outlive it.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Device& device, std::byte* data, std::size_t bytes, MemoryPurpose purpose);
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  MemoryPurpose purpose() const { return purpose_; }
  template <class T>
  std::span<T> as() const {
    return {reinterpret_cast<T*>(data_), bytes_ / sizeof(T)};
  }

 private:
  Device* device_ = nullptr;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  MemoryPurpose purpose_ = MemoryPurpose::metadata;
};

// One worker of the CPU backend, as a kernel sees it. Scratch is 64-byte aligned, private to the
// worker, undefined at the start of every item.
struct WorkerContext {
  std::uint32_t worker = 0;
  std::span<std::byte> scratch;
};
inline constexpr std::size_t kWorkerScratchBytes = std::size_t{1} << 20;

// Item `item` of an operation; items of one operation run in any order on any worker.
using HostKernel = void (*)(const void* args, std::uint32_t item, WorkerContext& worker);

// One implementation of an operation, by name ("attention/avx3"); lives as long as the program.
struct Kernel {
  const char* name;
  HostKernel host;
};

// An operation: which kernel, on which arguments, over how many items. The arguments are trivially
// copyable, hold only pointers, shapes and launch parameters, are zero in their padding, and stay
// at their address while a graph holds them.
struct Op {
  const Kernel* kernel = nullptr;
  const void* args = nullptr;
  std::uint32_t args_bytes = 0;
  std::uint32_t items = 0;
};

// A recorded, pre-bound list of operations, replayed in order with a barrier between them.
class RecordedGraph {
 public:
  virtual ~RecordedGraph() = default;
  // Hash of the sequence of kernels, arguments' bytes (pointers, shapes, launch parameters) and
  // item counts, taken anew from what a replay would run now.
  std::uint64_t launch_hash() const { return do_launch_hash(); }
  // As launch_hash() at the time of record(), but with every pointer into the device's live memory
  // as the place of its buffer among those that the arguments name, in order of their first
  // mention, and the offset in it; so two graphs that are built the same have the same one,
  // wherever their memory lies. Other pointers (weights) are hashed as they are. Arguments have no
  // types here: an aligned word whose value is such an address is taken for one.
  std::uint64_t launch_signature() const { return do_launch_signature(); }
  std::size_t op_count() const { return do_op_count(); }
  std::size_t bytes() const { return do_bytes(); }

 private:
  virtual std::uint64_t do_launch_hash() const = 0;
  virtual std::uint64_t do_launch_signature() const = 0;
  virtual std::size_t do_op_count() const = 0;
  virtual std::size_t do_bytes() const = 0;
};

struct DeviceInfo {
  std::string backend;        // "cpu"
  std::string kernel_target;  // instruction-set target of the kernels, "avx3"
  std::uint32_t workers = 0;
  bool asynchronous = false;  // launch() and replay() return before the work is done
};

struct MemoryAccount {
  std::array<std::uint64_t, kMemoryPurposes> bytes{};  // by MemoryPurpose
  std::array<std::uint64_t, kMemoryPurposes> peak{};
};

class Device {
 public:
  virtual ~Device() = default;

  const DeviceInfo& info() const { return do_info(); }
  Clock& clock() { return do_clock(); }
  // Zeroed memory, aligned to 64 bytes (on preferred pages 2 MiB and huge ones for KV). Out of
  // memory is an error, never a crash.
  Result<Buffer> allocate(const AllocationSpec& spec) { return do_allocate(spec); }
  Result<Buffer> allocate(MemoryPurpose purpose, std::size_t bytes) {
    return do_allocate({.purpose = purpose, .bytes = bytes});
  }
  MemoryAccount memory() const { return do_memory(); }
  // Null where the device cannot map pages of a pool into views. Lives as long as the device.
  PageMapper* page_mapper() { return do_page_mapper(); }

  // Launches and replays run in the order in which they were called, each one whole before the
  // next. An asynchronous device lets the caller go on meanwhile; what an operation or a graph
  // refers to stays put and unchanged until wait() has returned.
  //
  // One operation, looked up and dispatched now, as a dynamic runtime does.
  void launch(const Op& op) { do_launch(op); }
  std::unique_ptr<RecordedGraph> record(std::span<const Op> ops) { return do_record(ops); }
  void replay(const RecordedGraph& graph) { do_replay(graph); }
  // Returns when everything launched and replayed has ended.
  void wait() { do_wait(); }
  // What ran between the last two calls of wait() that had something to wait for.
  DeviceRun last_run() const { return do_last_run(); }

 private:
  friend class Buffer;
  virtual const DeviceInfo& do_info() const = 0;
  virtual Clock& do_clock() = 0;
  virtual Result<Buffer> do_allocate(const AllocationSpec& spec) = 0;
  virtual void do_free(std::byte* data, std::size_t bytes, MemoryPurpose purpose) = 0;
  virtual MemoryAccount do_memory() const = 0;
  virtual PageMapper* do_page_mapper() { return nullptr; }
  virtual void do_launch(const Op& op) = 0;
  virtual std::unique_ptr<RecordedGraph> do_record(std::span<const Op> ops) = 0;
  virtual void do_replay(const RecordedGraph& graph) = 0;
  virtual void do_wait() = 0;
  virtual DeviceRun do_last_run() const = 0;
};

}  // namespace kvrm
