#include <fmt/format.h>

#include <iterator>

#include "harness/metrics/dictionary.h"
#include "harness/stats/percentile.h"
#include "reports/writers/writers.h"

namespace kvrm {
namespace {

std::string minimum_list() {
  std::string text;
  for (const Percentile& percentile : kPercentiles) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", percentile.name,
                        minimum_observations(percentile.per_mille));
  }
  return text;
}

}  // namespace

std::string render_dictionary_markdown() {
  std::string out =
      "# Metrics\n\n"
      "What every number in a report means. This page is generated from the dictionary in "
      "`harness/metrics/dictionary.cc`; names are paths in an engine of `results.json`.\n\n"
      "Warm-up lasts until `driver.warmup_share` of a run's requests have finished; the measured "
      "window is the rest of the run. A latency counts when the event that ends it lies in the "
      "window; a request unfinished at the end counts as infinite; a refused one has no latency. "
      "Percentiles are nearest ranks over exact samples up to ten million, beyond that from a "
      "histogram within 0.1%, and then listed in `metrics.from_histogram`. Intervals are 95%, from "
      "a seeded bootstrap; the maximum has none. A percentile is n/a (null) below this number of "
      "independent observations, unless `output.point_estimates` asks for the bare value: ";
  out += minimum_list() + ".\n\n";
  out += "| name | formula | anchor | unit | pooling |\n|---|---|---|---|---|\n";
  for (const MetricEntry& entry : metric_dictionary()) {
    fmt::format_to(std::back_inserter(out), "| `{}` | {} | {} | {} | {} |\n", entry.name,
                   entry.formula, entry.anchor, entry.unit, entry.pooling);
  }
  return out;
}

}  // namespace kvrm
