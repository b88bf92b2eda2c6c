#include "engines/bench/bench_ground.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <thread>
#include <utility>

namespace kvrm {
namespace {

constexpr std::size_t kTinyProbeBytes = 256 * kKiB;

}  // namespace

Result<BenchGround> make_bench_ground(const Registry& registry, const BenchRun& run,
                                      std::uint32_t threads) {
  if (registry.backends.empty()) return bad_input("there is no backend");
  const BackendEntry& backend = registry.backends.front();
  auto device = backend.make({.kind = backend.kind, .workers = threads, .kernels = run.kernels});
  if (!device) return tl::unexpected<Error>(device.error());
  auto kernels = select_kernels((*device)->info().kernel_target);
  if (!kernels) return tl::unexpected<Error>(kernels.error());
  auto reference = select_kernels("reference");
  if (!reference) return tl::unexpected<Error>(reference.error());
  auto probe = BandwidthProbe::make(
      **device, run.size == BenchSize::tiny ? kTinyProbeBytes : BandwidthProbe::full_bytes());
  if (!probe) return tl::unexpected<Error>(probe.error());
  return BenchGround{.device = *std::move(device),
                     .kernels = *std::move(kernels),
                     .reference = *std::move(reference),
                     .probe = std::make_unique<BandwidthProbe>(*std::move(probe))};
}

std::vector<std::uint32_t> thread_counts(const BenchRun& run) {
  if (!run.threads.empty()) return run.threads;
  if (std::thread::hardware_concurrency() < 2) return {1};
  return {1, 2};
}

bool asks_for(const BenchRun& run, const std::string& shape) {
  return run.shapes.empty() ||
         std::find(run.shapes.begin(), run.shapes.end(), shape) != run.shapes.end();
}

Status check_shape_names(const BenchRun& run, const std::vector<std::string>& names) {
  for (const std::string& shape : run.shapes) {
    if (std::find(names.begin(), names.end(), shape) == names.end()) {
      return bad_input(
          fmt::format("--shapes: no shape \"{}\"; there are: {}", shape, fmt::join(names, " ")));
    }
  }
  return {};
}

}  // namespace kvrm
