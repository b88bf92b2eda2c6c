#include "property_tests/simulation/shrink.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace kvrm::simulation {
namespace {

// Whether this program fails on the part.
bool fails(const WorldPart& part) {
  std::istringstream text(part.arguments());
  std::vector<std::string> words{"kvrm_sim"};
  for (std::string word; text >> word;) words.push_back(word);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  for (const int stream : {STDOUT_FILENO, STDERR_FILENO}) {
    posix_spawn_file_actions_addopen(&files, stream, "/dev/null", O_WRONLY, 0);
  }
  pid_t child = 0;
  const int spawned =
      posix_spawn(&child, "/proc/self/exe", &files, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  if (spawned != 0) return false;
  int status = 0;
  if (waitpid(child, &status, 0) != child) return false;
  return !WIFEXITED(status) || WEXITSTATUS(status) == 5;
}

class Shrinker {
 public:
  Shrinker(WorldPart part, std::uint64_t runs_max) : part_(std::move(part)), runs_left_(runs_max) {
    result_.runs = runs_max;
  }

  Shrunk run() {
    result_.part = part_;
    if (!still_fails(part_)) return result_;
    result_.fails = true;
    part_.commands = draw_world(part_).commands;
    shorten();
    drop_names();
    shorten();
    drop_commands();
    result_.part = part_;
    result_.runs -= runs_left_;
    std::uint64_t skipped = 0;
    for (const auto& [first, last] : part_.skipped) {
      if (first < part_.commands) skipped += std::min(last + 1, part_.commands) - first;
    }
    result_.commands = part_.commands - skipped;
    return result_;
  }

 private:
  bool still_fails(const WorldPart& part) {
    if (runs_left_ == 0) return false;
    --runs_left_;
    return fails(part);
  }

  // A run ends at its first violation, so what fails with some commands fails with more.
  void shorten() {
    std::uint64_t passes = 0;
    WorldPart shorter = part_;
    while (part_.commands - passes > 1) {
      shorter.commands = passes + (part_.commands - passes) / 2;
      if (still_fails(shorter)) {
        part_ = shorter;
      } else {
        passes = shorter.commands;
      }
    }
  }

  void drop_names() {
    for (const std::string& name : all_part_names()) {
      WorldPart without = part_;
      without.without.insert(name);
      if (still_fails(without)) part_ = std::move(without);
    }
  }

  // Halves, quarters, and so on down to single commands, from the back: the first ones are what
  // the others build on.
  void drop_commands() {
    for (std::uint64_t size = std::max<std::uint64_t>(part_.commands / 2, 1);; size /= 2) {
      for (std::uint64_t end = part_.commands - 1; end > 0; end -= std::min(end, size)) {
        const std::uint64_t begin = end - std::min(end, size);
        WorldPart fewer = part_;
        skip(fewer, begin, end - 1);
        if (fewer.skipped != part_.skipped && still_fails(fewer)) part_ = std::move(fewer);
      }
      if (size == 1) return;
    }
  }

  static void skip(WorldPart& part, std::uint64_t first, std::uint64_t last) {
    auto& ranges = part.skipped;
    ranges.emplace_back(first, last);
    std::ranges::sort(ranges);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> joined;
    for (const auto& range : ranges) {
      if (!joined.empty() && range.first <= joined.back().second + 1) {
        joined.back().second = std::max(joined.back().second, range.second);
      } else {
        joined.push_back(range);
      }
    }
    ranges = std::move(joined);
  }

  WorldPart part_;
  std::uint64_t runs_left_;
  Shrunk result_;
};

}  // namespace

Shrunk shrink(const WorldPart& part, std::uint64_t runs_max) {
  return Shrinker(part, runs_max).run();
}

}  // namespace kvrm::simulation
