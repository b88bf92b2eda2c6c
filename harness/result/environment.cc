#include "harness/result/environment.h"

#include <fmt/format.h>
#include <sched.h>

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <optional>
#include <sstream>

#include "harness/base/units.h"

namespace kvrm {
namespace {

using Path = std::filesystem::path;

std::optional<std::string> first_line(const Path& file) {
  std::ifstream in(file);
  std::string line;
  if (!std::getline(in, line) || line.empty()) return std::nullopt;
  return line;
}

// Value of the first "key : value" line.
std::optional<std::string> value_of(const Path& file, const std::string& key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos || !line.starts_with(key)) continue;
    const std::size_t key_end = line.find_last_not_of(" \t", colon - 1);
    if (key_end + 1 != key.size()) continue;
    const std::size_t start = line.find_first_not_of(" \t", colon + 1);
    return start == std::string::npos ? std::string() : line.substr(start);
  }
  return std::nullopt;
}

std::string usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return "unknown";
  return std::to_string(CPU_COUNT(&set));
}

std::string quota_in_cores(double quota_us, double period_us) {
  return quota_us <= 0 || period_us <= 0 ? "none" : fmt::format("{:.3g}", quota_us / period_us);
}

// 0 for what is no number ("max").
double to_number(const std::string& text) { return std::strtod(text.c_str(), nullptr); }

std::string cpu_quota(const Path& root) {
  if (const auto line = first_line(root / "sys/fs/cgroup/cpu.max")) {  // "max 100000" or "q p"
    std::istringstream words(*line);
    std::string quota;
    double period = 0;
    words >> quota >> period;
    return quota_in_cores(to_number(quota), period);
  }
  const Path v1 = root / "sys/fs/cgroup/cpu";
  const auto quota = first_line(v1 / "cpu.cfs_quota_us");
  const auto period = first_line(v1 / "cpu.cfs_period_us");
  if (!quota || !period) return "none";
  return quota_in_cores(to_number(*quota), to_number(*period));
}

// The word in brackets of "always [madvise] never".
std::string chosen_word(const std::optional<std::string>& line) {
  if (!line) return "unknown";
  const std::size_t open = line->find('[');
  const std::size_t close = line->find(']');
  if (open == std::string::npos || close == std::string::npos || close < open) return *line;
  return line->substr(open + 1, close - open - 1);
}

std::string numa_nodes(const Path& root) {
  std::error_code error;
  int nodes = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(root / "sys/devices/system/node", error)) {
    const std::string name = entry.path().filename().string();
    const bool numbered =
        name.size() > 4 && name.find_first_not_of("0123456789", 4) == std::string::npos;
    nodes += name.starts_with("node") && numbered ? 1 : 0;
  }
  return nodes == 0 ? "unknown" : std::to_string(nodes);
}

std::string memory_bytes(const Path& root) {
  const auto total = value_of(root / "proc/meminfo", "MemTotal");  // "24689768 kB"
  if (!total) return "unknown";
  return std::to_string(std::strtoull(total->c_str(), nullptr, 10) * kKiB);
}

std::string gpu_models(const Path& root) {
  std::error_code error;
  std::string models;
  for (const auto& entry :
       std::filesystem::directory_iterator(root / "proc/driver/nvidia/gpus", error)) {
    const auto model = value_of(entry.path() / "information", "Model");
    if (!model) continue;
    models += (models.empty() ? "" : ", ") + *model;
  }
  return models.empty() ? "none" : models;
}

std::string load_average(const Path& root) {
  const auto line = first_line(root / "proc/loadavg");  // "0.20 0.18 0.12 1/80 11206"
  if (!line) return "unknown";
  std::istringstream words(*line);
  std::string one;
  std::string five;
  std::string fifteen;
  words >> one >> five >> fifteen;
  return one + " " + five + " " + fifteen;
}

std::string time_utc() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace

Environment capture_environment(const DeviceInfo& device, const std::string& version,
                                const std::filesystem::path& root) {
  const Path cpu = root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
  const Path pages = root / "sys/kernel/mm/transparent_hugepage/enabled";
  Environment environment;
  environment.facts = {
      {"version", version},
      {"compiler", KVRM_COMPILER},
      {"compile_flags", KVRM_COMPILE_FLAGS},
      {"build_type", KVRM_BUILD_TYPE},
      {"backend", device.backend},
      {"kernel_target", device.kernel_target},
      {"workers", std::to_string(device.workers)},
      {"cpu", value_of(root / "proc/cpuinfo", "model name").value_or("unknown")},
      {"cpu_cores", usable_cores()},
      {"cpu_quota", cpu_quota(root)},
      {"cpu_governor", first_line(cpu).value_or("unknown")},
      {"huge_pages", chosen_word(first_line(pages))},
      {"huge_pages_reserved",
       value_of(root / "proc/meminfo", "HugePages_Total").value_or("unknown")},
      {"numa_nodes", numa_nodes(root)},
      {"memory_bytes", memory_bytes(root)},
      {"gpu", gpu_models(root)},
      {"gpu_driver", first_line(root / "proc/driver/nvidia/version").value_or("none")},
      {"kernel", first_line(root / "proc/sys/kernel/osrelease").value_or("unknown")},
      {"load_average", load_average(root)},
      {"time_utc", time_utc()},
  };
  return environment;
}

}  // namespace kvrm
