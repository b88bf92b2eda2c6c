// YAML to Experiment. The whole experiment is valid or there is one Error that says where and what.
#pragma once

#include <string>
#include <vector>

#include "harness/config/experiment.h"

namespace kvrm {

struct ParseRequest {
  std::string file;
  std::string text;                    // where not empty: read instead of the file, under its name
  std::vector<std::string> overrides;  // --set key.path=value, in order
  std::vector<std::string> only_engines;    // --engine KIND_OR_LABEL; empty: all
  std::vector<std::string> engine_kinds;    // the registered kinds, for `engines[].kind`
  std::vector<std::string> backend_kinds;   // likewise for `backend.kind`
  std::vector<std::string> metric_columns;  // likewise for `output.columns`
};

Result<Experiment> parse_experiment(const ParseRequest& request);

}  // namespace kvrm
