#include "engines/bench/bench_ground.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <thread>
#include <utility>

#include "harness/base/units.h"

namespace kvrm {
namespace {

constexpr std::size_t kTinyProbeBytes = 256 * kKiB;
constexpr std::uint64_t kMostMemoryBytes = 8 * kGiB;

std::vector<std::uint32_t> thread_counts(const BenchRun& run) {
  if (!run.threads.empty()) return run.threads;
  if (std::thread::hardware_concurrency() < 2) return {1};
  return {1, 2};
}

Status check_shape_names(const BenchRun& run, const std::vector<BenchPoint>& points) {
  for (const std::string& shape : run.shapes) {
    std::string names;
    bool found = false;
    for (const BenchPoint& point : points) {
      names += " " + point.shape;
      found = found || point.shape == shape;
    }
    if (!found)
      return bad_input(fmt::format("--shapes: no shape \"{}\"; there are:{}", shape, names));
  }
  return {};
}

bool asks_for(const BenchRun& run, const std::string& shape) {
  return run.shapes.empty() ||
         std::find(run.shapes.begin(), run.shapes.end(), shape) != run.shapes.end();
}

}  // namespace

Result<BenchGround> BenchGround::make(const Registry& registry, const BenchRun& run,
                                      std::uint32_t threads) {
  if (registry.backends.empty()) return bad_input("there is no backend");
  const BackendEntry& backend = registry.backends.front();
  auto device = backend.make({.kind = backend.kind, .workers = threads, .kernels = run.kernels});
  if (!device) return tl::unexpected<Error>(device.error());
  auto kernels = select_kernels((*device)->info().kernel_target);
  if (!kernels) return tl::unexpected<Error>(kernels.error());
  auto reference = select_kernels("reference");
  if (!reference) return tl::unexpected<Error>(reference.error());
  BenchGround ground;
  ground.run_ = run;
  ground.device_ = *std::move(device);
  ground.kernels_ = *std::move(kernels);
  ground.reference_ = *std::move(reference);
  return ground;
}

Result<BandwidthProbe*> BenchGround::read_probe() {
  if (!probe_) {
    auto probe = BandwidthProbe::make(
        *device_, run_.size == BenchSize::tiny ? kTinyProbeBytes : BandwidthProbe::full_bytes());
    if (!probe) return tl::unexpected<Error>(probe.error());
    probe_ = std::make_unique<BandwidthProbe>(*std::move(probe));
  }
  return probe_.get();
}

Result<BenchReport> measure_points(const Registry& registry, const BenchRun& run,
                                   const std::vector<BenchPoint>& points) {
  if (const Status status = check_shape_names(run, points); !status)
    return tl::unexpected<Error>(status.error());
  BenchReport report;
  for (const std::uint32_t threads : thread_counts(run)) {
    auto ground = BenchGround::make(registry, run, threads);
    if (!ground) return tl::unexpected<Error>(ground.error());
    for (const BenchPoint& point : points) {
      if (!asks_for(run, point.shape)) continue;
      if (point.memory_bytes > kMostMemoryBytes) {
        report.skipped.push_back(fmt::format("{} on {} threads: {}, at most {}", point.shape,
                                             threads, format_bytes(point.memory_bytes),
                                             format_bytes(kMostMemoryBytes)));
        continue;
      }
      auto rows = point.measure(*ground);
      if (!rows) return tl::unexpected<Error>(rows.error());
      std::move(rows->begin(), rows->end(), std::back_inserter(report.rows));
    }
  }
  return report;
}

}  // namespace kvrm
