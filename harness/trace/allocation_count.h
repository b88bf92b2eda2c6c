// Test only: how often this process has asked operator new for memory. Replaces the global
// operators of the program that links it. Sanitizers have their own, so that there it stays 0.
#pragma once

#include <cstdint>

namespace kvrm {

#ifdef KVRM_SANITIZED
inline constexpr bool kCountsAllocations = false;
#else
inline constexpr bool kCountsAllocations = true;
#endif

std::uint64_t allocation_count();

}  // namespace kvrm
