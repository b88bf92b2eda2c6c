#include "reports/writers/writers.h"

namespace kvrm {

std::vector<WriterEntry> report_writers() {
  return {
      {"results.json", render_results_json},
      {"requests.csv", render_requests_csv},
      {"steps.csv", render_steps_csv},
      {"experiment.yaml", render_experiment_yaml},
      {"environment.json", render_environment_json},
      {"summary.md", render_summary_markdown},
  };
}

Result<std::string> render_experiment_yaml(const ExperimentResult& result) {
  std::string text = result.resolved_yaml;
  if (!text.empty() && text.back() != '\n') text += '\n';
  return text;
}

}  // namespace kvrm
