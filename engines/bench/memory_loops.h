// The plainest loops over memory that reach its limits: what probes are made of. They are not what
// any engine runs.
#pragma once

#include <cstddef>
#include <cstdint>

namespace kvrm {

inline constexpr std::size_t kReadUnit = 1024;  // bytes are a multiple of it

// Reads a span in the order of its addresses and folds it into one number.
std::uint64_t read_span(const std::byte* first, std::size_t bytes);

}  // namespace kvrm
