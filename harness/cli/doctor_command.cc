// kvrm doctor: what this machine and this build can run.
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>

#include "harness/cli/command.h"
#include "harness/device/cpu_device.h"
#include "harness/result/environment.h"

namespace kvrm {
namespace {

class DoctorCommand final : public Command {
 public:
  DoctorCommand(CLI::App& parent, const Registry& registry)
      : Command(parent, "doctor", "what this machine and this build can run"),
        registry_(registry) {}

 private:
  int do_run() override {
    fmt::print("kvrm {}\n", registry_.version);
    const bool runs = print_backends();
    fmt::print("\nengines\n");
    for (const EngineEntry& engine : registry_.engines)
      fmt::print("  {:<12} {}\n", engine.kind, engine.description);
    fmt::print("\nmemory that a run may take: {}\n", format_bytes(available_memory_bytes()));
    print_data();
    return static_cast<int>(runs ? ExitCode::ok : ExitCode::incomplete);
  }

  // True when at least one backend runs here.
  bool print_backends() const {
    bool any = false;
    fmt::print("\nbackends\n");
    for (const BackendEntry& backend : registry_.backends) {
      const Result<std::unique_ptr<Device>> device = backend.make({.kind = backend.kind});
      if (!device) {
        fmt::print("  {:<12} no: {}\n", backend.kind, device.error().message);
        continue;
      }
      any = true;
      const DeviceInfo& info = (*device)->info();
      fmt::print("  {:<12} yes: {} workers, kernels {}\n", backend.kind, info.workers,
                 info.kernel_target);
      fmt::print("\nmachine\n");
      for (const auto& [name, value] : capture_environment(info, registry_.version).facts) {
        fmt::print("  {:<24} {}\n", name, value);
      }
    }
    return any;
  }

  static void print_data() {
    const char* variable = std::getenv("KVRM_DATA_DIR");
    const std::filesystem::path data = variable != nullptr ? variable : "../shared/data";
    const bool there = std::filesystem::is_directory(data);
    fmt::print(
        "traces and model: {} ({})\n", data.string(),
        there ? "found" : "not found; set KVRM_DATA_DIR to run the experiments that name them");
  }

  const Registry& registry_;
};

}  // namespace

std::unique_ptr<Command> make_doctor_command(CLI::App& app, const Registry& registry) {
  return std::make_unique<DoctorCommand>(app, registry);
}

}  // namespace kvrm
