// Result<T>: a value or one clear Error, for everything that can go wrong outside this program
// (files, configuration, memory, devices). tl::expected stands in for std::expected, which g++ 12
// does not have in C++20.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace kvrm {

// Exit codes of every command (DESIGN 17).
enum class ExitCode : int {
  ok = 0,
  regression = 1,
  bad_input = 2,
  incomplete = 3,
  ambiguous = 4,
  incorrect = 5,
};

// One message for a person, with the place in it, and the exit code that the command should end
// with.
struct Error {
  ExitCode code = ExitCode::bad_input;
  std::string message;
};

template <class T>
using Result = tl::expected<T, Error>;

using Status = Result<void>;

inline tl::unexpected<Error> fail(ExitCode code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}

inline tl::unexpected<Error> bad_input(std::string message) {
  return fail(ExitCode::bad_input, std::move(message));
}

}  // namespace kvrm
