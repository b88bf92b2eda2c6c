// CHECK macros for what only a bug in this program can cause: they print the place and the values,
// then abort. Not for bad input and not for operating errors (files, memory, devices): those return
// a Result (result.h).
#pragma once

#include <sstream>
#include <string>

namespace kvrm::detail {

[[noreturn]] void check_failed(const char* file, int line, const char* expression,
                               const std::string& values);

template <class A, class B>
std::string describe_pair(const A& a, const B& b) {
  std::ostringstream out;
  out << a << " vs " << b;
  return out.str();
}

}  // namespace kvrm::detail

#define KVRM_CHECK(condition)                                                      \
  do {                                                                             \
    if (!(condition)) [[unlikely]]                                                 \
      ::kvrm::detail::check_failed(__FILE__, __LINE__, #condition, std::string()); \
  } while (false)

#define KVRM_CHECK_OP(a, op, b)                                              \
  do {                                                                       \
    if (!((a)op(b))) [[unlikely]]                                            \
      ::kvrm::detail::check_failed(__FILE__, __LINE__, #a " " #op " " #b,    \
                                   ::kvrm::detail::describe_pair((a), (b))); \
  } while (false)

#define KVRM_CHECK_EQ(a, b) KVRM_CHECK_OP(a, ==, b)
#define KVRM_CHECK_NE(a, b) KVRM_CHECK_OP(a, !=, b)
#define KVRM_CHECK_LT(a, b) KVRM_CHECK_OP(a, <, b)
#define KVRM_CHECK_LE(a, b) KVRM_CHECK_OP(a, <=, b)
