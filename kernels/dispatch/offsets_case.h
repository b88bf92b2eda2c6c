// Test only: sparse arrays and one row of them, for kernels at offsets beyond 2^32 elements, and
// the cases of the kernels that write KV memory. Each case gives what item `row` wrote.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <span>
#include <vector>

#include "harness/base/check.h"
#include "harness/base/prng.h"
#include "kernels/dispatch/kernel_set.h"
#include "kernels/linear/linear.h"
#include "kernels/page/kv_layout.h"

namespace kvrm::offsets {

// With rows of kWidth values row kFar begins beyond 2^32 values, thus beyond 2^34 bytes.
inline constexpr std::uint32_t kWidth = 16;
inline constexpr std::uint32_t kFar = (1U << 28) + 16;

template <class T>
class Sparse {
 public:
  explicit Sparse(std::uint64_t count) : bytes_(count * sizeof(T)) {
    void* data = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    KVRM_CHECK(data != MAP_FAILED);
    data_ = static_cast<T*>(data);
  }
  ~Sparse() { munmap(data_, bytes_); }
  Sparse(const Sparse&) = delete;
  Sparse& operator=(const Sparse&) = delete;
  T* data() const { return data_; }
  T& operator[](std::uint64_t index) const { return data_[index]; }

 private:
  std::uint64_t bytes_;
  T* data_ = nullptr;
};

using Floats = Sparse<float>;
using Output = std::vector<float>;

inline std::uint64_t place(std::uint64_t row) { return row * kWidth; }
inline Floats rows_up_to(std::uint32_t row) { return Floats(place(std::uint64_t{row} + kRowTile)); }

// A row of `kWidth` floats at its place.
inline void fill(const Floats& array, std::uint32_t row, std::uint64_t seed) {
  RandomStream random(seed, "offsets");
  for (std::uint32_t i = 0; i < kWidth; ++i) {
    array[place(row) + i] = static_cast<float>(random.normal());
  }
}

inline Output read(const Floats& array, std::uint32_t row) {
  return {array.data() + place(row), array.data() + place(row) + kWidth};
}

inline Output join(Output a, const Output& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

template <class Args>
void run_item(const Kernel* kernel, const Args& args, std::uint32_t item) {
  static std::vector<std::byte> scratch(kWorkerScratchBytes + 64);
  const auto misaligned = reinterpret_cast<std::uintptr_t>(scratch.data()) % 64;
  WorkerContext worker;
  worker.scratch = std::span(scratch).subspan((64 - misaligned) % 64, kWorkerScratchBytes);
  kernel->host(&args, item, worker);
}

inline constexpr KvLayout kLayout = {DType::f32, 1, kWidth, 16};

Output append_kv(const KernelSet& kernels, std::uint32_t row);
Output gather_groups(const KernelSet& kernels, std::uint32_t row);
Output copy_blocks(const KernelSet& kernels, std::uint32_t row);
Output stage_groups(const KernelSet& kernels, std::uint32_t row);
Output view_slots(const KernelSet& kernels, std::uint32_t row);

}  // namespace kvrm::offsets
