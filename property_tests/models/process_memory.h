// What this process holds: the bytes of its heap that are in use, exactly, and its resident set.
// Header-only, tests only.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdlib>

#include "harness/base/check.h"
#include "property_tests/models/heap_account.h"

namespace kvrm::soak {

struct ProcessMemory {
  std::size_t heap_bytes = 0;
  std::size_t resident_bytes = 0;
};

inline std::size_t resident_bytes() {
  const int file = open("/proc/self/statm", O_RDONLY);
  KVRM_CHECK_LE(0, file);
  std::array<char, 128> text{};
  KVRM_CHECK_LT(0, read(file, text.data(), text.size() - 1));
  close(file);
  char* resident = nullptr;
  std::strtoull(text.data(), &resident, 10);  // the whole size comes first
  return std::strtoull(resident, nullptr, 10) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

// A sanitizer keeps what was freed for a while.
inline ProcessMemory process_memory() {
  return {.heap_bytes = heap_bytes(), .resident_bytes = kSanitized ? 0 : resident_bytes()};
}

}  // namespace kvrm::soak
