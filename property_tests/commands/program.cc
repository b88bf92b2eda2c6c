#include "property_tests/commands/program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "harness/base/check.h"

namespace kvrm {
namespace {

struct Child {
  pid_t pid = 0;
  int out = -1;
  int err = -1;
};

[[noreturn]] void become(const ProgramRun& run, int out, int err) {
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  if (chdir(KVRM_SOURCE_DIR) != 0) _exit(127);
  std::vector<std::string> words = {run.program.string()};
  words.insert(words.end(), run.arguments.begin(), run.arguments.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  execv(pointers.front(), pointers.data());
  _exit(127);
}

Child start(const ProgramRun& run) {
  std::array<int, 2> out{};
  std::array<int, 2> err{};
  KVRM_CHECK(pipe2(out.data(), O_CLOEXEC) == 0 && pipe2(err.data(), O_CLOEXEC) == 0);
  const pid_t pid = fork();
  KVRM_CHECK(pid >= 0);
  if (pid == 0) become(run, out[1], err[1]);
  close(out[1]);
  close(err[1]);
  return {.pid = pid, .out = out[0], .err = err[0]};
}

// Reads what is there; false at the end of the stream.
bool drain(int descriptor, std::string& into) {
  std::array<char, 65536> buffer{};
  const ssize_t count = read(descriptor, buffer.data(), buffer.size());
  if (count > 0) into.append(buffer.data(), static_cast<std::size_t>(count));
  return count > 0;
}

int exit_code_of_status(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

ProgramResult run_program(const ProgramRun& run) {
  const Child child = start(run);
  ProgramResult result;
  bool signalled = run.signal == 0;
  std::array<pollfd, 2> streams = {pollfd{.fd = child.out, .events = POLLIN, .revents = 0},
                                   pollfd{.fd = child.err, .events = POLLIN, .revents = 0}};
  for (int open = 2; open > 0;) {
    poll(streams.data(), streams.size(), -1);
    for (pollfd& stream : streams) {
      if (stream.fd < 0 || (stream.revents & (POLLIN | POLLHUP)) == 0) continue;
      if (!drain(stream.fd, stream.fd == child.out ? result.out : result.err)) {
        stream.fd = -1;
        --open;
      }
    }
    if (!signalled && result.err.find(run.signal_when) != std::string::npos) {
      kill(child.pid, run.signal);
      signalled = true;
    }
  }
  close(child.out);
  close(child.err);
  int status = 0;
  waitpid(child.pid, &status, 0);
  result.exit_code = exit_code_of_status(status);
  return result;
}

std::filesystem::path kvrm_program() { return KVRM_PROGRAM; }
std::filesystem::path kvrm_bench_program() { return KVRM_BENCH_PROGRAM; }
std::filesystem::path kvrm_faulty_program() { return KVRM_FAULTY_PROGRAM; }

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "kvrm-test-XXXXXX").string();
  KVRM_CHECK(mkdtemp(name.data()) != nullptr);
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryFolder::write(const std::string& name, const std::string& content) const {
  const std::filesystem::path file = path_ / name;
  std::ofstream(file, std::ios::binary) << content;
  return file.string();
}

std::string read_file(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::filesystem::path data_folder() {
  const char* variable = std::getenv("KVRM_DATA_DIR");
  const std::filesystem::path folder =
      variable != nullptr ? std::filesystem::path(variable)
                          : std::filesystem::path(KVRM_SOURCE_DIR "/../shared/data");
  return std::filesystem::is_directory(folder) ? std::filesystem::canonical(folder)
                                               : std::filesystem::path();
}

}  // namespace kvrm
