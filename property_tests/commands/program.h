// Runs the built programs as a user would and keeps what they printed and how they ended.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace kvrm {

struct ProgramResult {
  int exit_code = 0;  // 128 + signal when a signal ended it
  std::string out;
  std::string err;
};

struct ProgramRun {
  std::filesystem::path program;
  std::vector<std::string> arguments;
  int signal = 0;  // sent once `signal_when` appears on standard error; 0: none
  std::string signal_when;
};

// In the repository's root.
ProgramResult run_program(const ProgramRun& run);

// The programs of this build.
std::filesystem::path kvrm_program();
std::filesystem::path kvrm_bench_program();
std::filesystem::path kvrm_faulty_program();

// A folder that goes when the object does.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  // Writes a file in it and gives its path.
  std::string write(const std::string& name, const std::string& content) const;

 private:
  std::filesystem::path path_;
};

std::string read_file(const std::filesystem::path& path);

// The real model and traces: KVRM_DATA_DIR, or ../shared/data beside the checkout; empty where
// absent.
std::filesystem::path data_folder();

}  // namespace kvrm
