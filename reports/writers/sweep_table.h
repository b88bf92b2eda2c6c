// The one table of a whole experiment that `output.columns` asks for: a row for each point and
// engine, a column for each metric named, filled from the same JSON that results.json holds. First
// its cells, then their layout on a terminal or in Markdown.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "harness/metrics/columns.h"
#include "harness/result/results.h"

namespace kvrm {

struct SweepCell {
  std::optional<double> value;  // to compare by
  std::string text;
  bool best = false;  // of its point
};

struct SweepRow {
  const EngineResult* engine = nullptr;
  std::vector<std::string> axes;
  std::vector<SweepCell> cells;
};

struct SweepTable {
  std::vector<std::string> axes;      // names, slowest first
  std::vector<std::string> names;     // of the columns
  std::vector<MetricColumn> columns;  // by column
  std::vector<SweepRow> rows;
};

// `result` must outlive the table.
SweepTable sweep_table(const ExperimentResult& result);

// What stands over an axis: the last part of its key, or the whole where two axes end alike.
std::vector<std::string> axis_heads(const std::vector<std::string>& axes);

// At most the terminal's width: heads, axis values and labels are shortened, and columns that still
// have no room follow in a second part with the same rows. Then the reasons of engines without a
// verified output, whose labels have a "!".
std::string render_sweep_text(const SweepTable& table, bool color);

std::string render_sweep_markdown(const SweepTable& table);

}  // namespace kvrm
