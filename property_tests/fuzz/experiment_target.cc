#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "harness/base/check.h"
#include "harness/config/experiment_text.h"
#include "harness/config/parse.h"
#include "property_tests/fuzz/fuzz_input.h"

namespace kvrm {
namespace {

constexpr std::string_view kSeparator = "\n%%\n";
constexpr std::size_t kMostOverrides = 4;
constexpr const char* kTextName = "text.yaml";

// The experiment and the file beside it that it may extend, for as long as this lives.
class ExperimentFiles {
 public:
  ExperimentFiles(const std::string& experiment, const std::string& base)
      : folder_("/dev/shm/kvrm_fuzz_" + std::to_string(getpid())) {
    std::filesystem::create_directories(folder_);
    std::ofstream(file(), std::ios::binary) << experiment;
    std::ofstream(folder_ / "base.yaml", std::ios::binary) << base;
  }
  ~ExperimentFiles() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  ExperimentFiles(const ExperimentFiles&) = delete;
  ExperimentFiles& operator=(const ExperimentFiles&) = delete;

  std::string file() const { return (folder_ / "experiment.yaml").string(); }
  std::string folder() const { return folder_.string(); }

 private:
  std::filesystem::path folder_;
};

ParseRequest known_names() {
  ParseRequest request;
  request.engine_kinds = {"static", "paged", "paged_graph", "kvrm", "null"};
  request.backend_kinds = {"cpu", "modelled"};
  request.metric_columns = {"metrics.itl_ms.p50", "metrics.itl_ms.p99", "slots"};
  return request;
}

// The place is in the file, in the one beside it, or a --set.
void check_experiment_error(const Error& error, const std::string& folder) {
  check_error_form(error);
  if (error.message.starts_with("--set ")) return;
  const std::size_t colon = error.message.find(".yaml:");
  KVRM_CHECK(colon != std::string::npos);
  const std::string file = error.message.substr(0, colon + 5);
  KVRM_CHECK(folder.empty() ? file == kTextName : file.starts_with(folder));
  check_error_place(error, file);
}

void check_points(const Experiment& experiment) {
  KVRM_CHECK(!experiment.name.empty() && !experiment.question.empty());
  KVRM_CHECK(!experiment.points.empty() && experiment.points.size() <= 10'000);
  for (const ExperimentPoint& point : experiment.points) {
    KVRM_CHECK_EQ(point.axes.size(), experiment.axes.size());
    KVRM_CHECK(!point.engines.empty() && point.budget.max_batch > 0 && point.budget.max_len > 0);
    KVRM_CHECK_EQ(point.model.shape.max_len, point.budget.max_len);
    std::set<std::string> labels;
    for (const EngineSpec& engine : point.engines) {
      KVRM_CHECK(engine.label.starts_with(engine.kind));
      KVRM_CHECK(labels.insert(engine.label).second);
      KVRM_CHECK_EQ(engine.budget.kv_bytes, point.budget.kv_bytes);
      KVRM_CHECK(engine.options.watermark >= 0 && engine.options.watermark < 1);
    }
  }
}

void check_resolved(const Experiment& experiment) {
  ParseRequest request = known_names();
  request.file = kTextName;
  request.text = experiment.resolved_yaml;
  const Result<Experiment> again = parse_experiment(request);
  KVRM_CHECK_EQ(again ? "read" : again.error().message, "read");
  KVRM_CHECK_EQ(print(*again), print(experiment));
  KVRM_CHECK(again->axes == experiment.axes);
  KVRM_CHECK_EQ(again->resolved_yaml, experiment.resolved_yaml);
}

FuzzOutcome judge(const ParseRequest& request, const std::string& folder) {
  const Result<Experiment> experiment = parse_experiment(request);
  if (!experiment) {
    check_experiment_error(experiment.error(), folder);
    return FuzzOutcome::refused;
  }
  check_points(*experiment);
  check_resolved(*experiment);
  return FuzzOutcome::accepted;
}

}  // namespace

FuzzOutcome fuzz_experiment(FuzzBytes input) {
  FuzzReader reader(input);
  ParseRequest request = known_names();
  request.text = reader.take_text(kSeparator);
  const std::string base = reader.take_text(kSeparator);
  while (!reader.empty() && request.overrides.size() < kMostOverrides) {
    request.overrides.push_back(reader.take_text("\n"));
  }
  request.file = kTextName;
  if (!base.empty() || request.text.empty()) {
    const ExperimentFiles files(request.text, base);
    request.text.clear();
    request.file = files.file();
    return judge(request, files.folder());
  }
  return judge(request, "");
}

}  // namespace kvrm
