// Bytes that operator new has handed out in this process and not got back, exactly: malloc's own
// figures count what its caches keep. Replaces the global operators of the program that links it;
// tests only. Sanitizers have their own, so that there it stays 0.
#pragma once

#include <cstddef>

namespace kvrm::soak {

#ifdef KVRM_SANITIZED
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

std::size_t heap_bytes();

}  // namespace kvrm::soak
