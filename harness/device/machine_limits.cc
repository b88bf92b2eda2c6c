#include "harness/device/machine_limits.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>

#include "harness/base/units.h"
#include "harness/device/cpu_device.h"

namespace kvrm {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kUnlimited = std::numeric_limits<std::uint64_t>::max();

// The number that follows `key` in a file of "key value" lines; with an empty key, the file's first
// word.
std::optional<std::uint64_t> read_number(const fs::path& file, std::string_view key) {
  std::ifstream in(file);
  std::string word;
  if (!key.empty()) {
    while (in >> word && word != key) {
    }
  }
  std::uint64_t value = 0;
  if (!(in >> value)) return std::nullopt;
  return value;
}

// Directories of this process's cgroup for one controller, its own first, then its ancestors. A
// container may see only the top of its own hierarchy; levels that it does not see have no files.
std::vector<fs::path> cgroup_levels(const fs::path& root, std::string_view controller) {
  std::vector<fs::path> levels;
  std::ifstream in(root / "proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool unified = controllers == ",,";
    if (!unified && controllers.find("," + std::string(controller) + ",") == std::string::npos) {
      continue;
    }
    const fs::path top =
        unified ? root / "sys/fs/cgroup" : root / "sys/fs/cgroup" / std::string(controller);
    fs::path below = fs::path(line.substr(second + 1)).relative_path();
    while (true) {
      levels.push_back(below.empty() ? top : top / below);
      if (below.empty()) break;
      below = below.parent_path();
    }
  }
  return levels;
}

std::uint64_t room_below(std::optional<std::uint64_t> limit, std::optional<std::uint64_t> used,
                         std::optional<std::uint64_t> reclaimable) {
  if (!limit || !used) return kUnlimited;
  const std::uint64_t held = *used - std::min(*used, reclaimable.value_or(0));
  return *limit - std::min(*limit, held);
}

std::uint64_t room_in_cgroup(const fs::path& level) {
  const std::uint64_t v2 =
      room_below(read_number(level / "memory.max", ""), read_number(level / "memory.current", ""),
                 read_number(level / "memory.stat", "inactive_file"));
  const std::uint64_t v1 = room_below(read_number(level / "memory.limit_in_bytes", ""),
                                      read_number(level / "memory.usage_in_bytes", ""),
                                      read_number(level / "memory.stat", "total_inactive_file"));
  return std::min(v1, v2);
}

// cpu.max (v2) holds "quota period", or "max period" for none.
std::optional<std::uint64_t> quota_of_level(const fs::path& level) {
  std::ifstream in(level / "cpu.max");
  std::uint64_t quota = 0;
  std::uint64_t period = 0;
  if (in >> quota >> period && period > 0) return divide_up(quota, period);
  const auto v1_quota = read_number(level / "cpu.cfs_quota_us", "");
  const auto v1_period = read_number(level / "cpu.cfs_period_us", "");
  // v1 writes -1 for none, which reads as a huge unsigned number.
  if (!v1_quota || !v1_period || *v1_period == 0 || *v1_quota > kUnlimited / 2) {
    return std::nullopt;
  }
  return divide_up(*v1_quota, *v1_period);
}

}  // namespace

std::uint64_t available_memory_bytes(const fs::path& root) {
  const auto available = read_number(root / "proc/meminfo", "MemAvailable:");
  std::uint64_t least = available ? *available * kKiB : kUnlimited;
  for (const fs::path& level : cgroup_levels(root, "memory")) {
    least = std::min(least, room_in_cgroup(level));
  }
  return least;
}

std::uint64_t available_memory_bytes() { return available_memory_bytes("/"); }

std::uint32_t cpu_quota_cores(const fs::path& root) {
  std::uint64_t least = kUnlimited;
  for (const fs::path& level : cgroup_levels(root, "cpu")) {
    least = std::min(least, quota_of_level(level).value_or(kUnlimited));
  }
  return least == kUnlimited ? 0 : static_cast<std::uint32_t>(std::max<std::uint64_t>(least, 1));
}

MappingCount count_mappings(const fs::path& root) {
  MappingCount count;
  std::ifstream in(root / "proc/self/maps");
  for (std::string line; std::getline(in, line);) ++count.used;
  count.most = read_number(root / "proc/sys/vm/max_map_count", "").value_or(kUnlimited);
  return count;
}

std::vector<std::uint32_t> process_cores() {
  std::set<std::uint32_t> cores;
  std::error_code error;
  for (const auto& task : fs::directory_iterator("/proc/self/task", error)) {
    const std::string name = task.path().filename();
    pid_t thread = 0;
    std::from_chars(name.data(), name.data() + name.size(), thread);
    cpu_set_t mask;
    CPU_ZERO(&mask);
    if (sched_getaffinity(thread, sizeof(mask), &mask) != 0) continue;
    for (std::uint32_t core = 0; core < CPU_SETSIZE; ++core) {
      if (CPU_ISSET(core, &mask)) cores.insert(core);
    }
  }
  if (cores.empty()) cores.insert(0);
  return {cores.begin(), cores.end()};
}

}  // namespace kvrm
