// From an ExperimentResult to the bytes of each file of a results directory, and to the table on
// the terminal. Facts in, bytes out: nothing is measured, decided or written to disk here.
//
// No latency leaves a run whose output was not verified: its metrics, spikes, phases and
// byte-seconds are left out, and its times in the CSV files are empty.
#pragma once

#include <string>
#include <vector>

#include "harness/base/result.h"
#include "harness/driver/registry.h"
#include "harness/result/results.h"

namespace kvrm {

// The files of a results directory, in the order in which they are listed for people.
std::vector<WriterEntry> report_writers();

// results.json, schema kvrm.results/1 (reports/results.schema.json). An n/a percentile is null, an
// infinite value "inf", a digest 16 hexadecimal digits.
Result<std::string> render_results_json(const ExperimentResult& result);
// environment.json: the facts of the machine and the build, one object of strings.
Result<std::string> render_environment_json(const ExperimentResult& result);
// experiment.yaml: the experiment as it was resolved.
Result<std::string> render_experiment_yaml(const ExperimentResult& result);
// One row a request or step, of every repeat. `sampled` keeps every k-th row of a run, with the
// smallest k that leaves at most kSampledRows. Empty (no file) where the output asks for `none`.
Result<std::string> render_requests_csv(const ExperimentResult& result);
Result<std::string> render_steps_csv(const ExperimentResult& result);
inline constexpr std::size_t kSampledRows = 1000;
// summary.md: the table of `output.columns`, tables with intervals, comparisons, environment, the
// metric dictionary.
Result<std::string> render_summary_markdown(const ExperimentResult& result);

// The comparison for a terminal of 100 columns: one table for each point, or where the experiment
// names `output.columns` the one table of these.
std::string render_table(const ExperimentResult& result, bool color);

// docs/metrics.md, from the metric dictionary.
std::string render_dictionary_markdown();

}  // namespace kvrm
