// Puts the files of a finished experiment on disk, all or nothing: temporary names, synced, then
// renamed. What the files say is not its business.
#pragma once

#include <ctime>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "harness/base/result.h"

namespace kvrm {

// A file of the directory. Empty content stands for "no such file": it is not written, and one of
// an earlier run is removed.
struct ResultFile {
  std::string name;
  std::string content;
};

// "results/<name>-20260131T235959Z"; characters of the name that a path should not hold become "-".
std::filesystem::path default_results_directory(std::string_view name,
                                                std::time_t now = std::time(nullptr));

// Makes the directory and shows that a file can be written there, so that a bad --out is known
// before anything is measured. Error: ExitCode::incomplete, with the path and the cause.
Status prepare_results_directory(const std::filesystem::path& directory);

// Writes every file under a temporary name, syncs it, and renames them all once all are on disk.
// Files of the same names are replaced. On an error (ExitCode::incomplete, with the path and the
// cause) no temporary file is left, and unless a rename itself failed nothing has changed.
Status write_results_directory(const std::filesystem::path& directory,
                               std::span<const ResultFile> files);

}  // namespace kvrm
