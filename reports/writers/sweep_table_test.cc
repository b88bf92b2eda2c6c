// What must hold of the sweep table for any result; its bytes for a fixed one are approved beside
// the other writers'.
#include "reports/writers/sweep_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <sstream>

#include "harness/base/prng.h"
#include "reports/writers/engine_json.h"
#include "reports/writers/fixture_result.h"
#include "reports/writers/writers.h"

namespace kvrm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

const SweepCell& cell(const SweepTable& table, std::size_t row, const std::string& name) {
  const auto place = std::find(table.names.begin(), table.names.end(), name) - table.names.begin();
  return table.rows[row].cells.at(static_cast<std::size_t>(place));
}

TEST(SweepTable, EveryColumnThatAnExperimentMayNameHasItsValue) {
  ExperimentResult result = fixture_result();
  result.output.columns = metric_column_names();
  const SweepTable table = sweep_table(result);
  ASSERT_EQ(table.rows.size(), result.engines.size());
  std::set<std::string> without;  // of a verified engine
  for (const std::string& name : table.names) {
    EXPECT_FALSE(cell(table, 1, name).text.empty()) << name;
    // Row 1 has no far history.
    if (name.starts_with("far_history.")) {
      EXPECT_EQ(cell(table, 1, name).text, "-");
      continue;
    }
    if (!cell(table, 1, name).value) without.insert(name + " " + cell(table, 1, name).text);
  }
  EXPECT_THAT(without, ElementsAre("metrics.e2e_ms.p99.9 n/a", "metrics.itl_ms.p99.9 n/a",
                                   "metrics.steady no", "metrics.step_ms.p99.9 n/a",
                                   "metrics.tpot_ms.p99.9 n/a", "metrics.ttft_ms.p99.9 n/a"));
  EXPECT_EQ(cell(table, 1, "metrics.output_tokens_per_s").value, 1800.25);
  EXPECT_EQ(cell(table, 1, "metrics.itl_ms.p99").value, 12.75);
  EXPECT_EQ(cell(table, 1, "metrics.e2e_ms.p99").text, "inf");
  EXPECT_EQ(cell(table, 1, "memory.reserved_bytes_peak").text, "1.50 GiB");
  EXPECT_EQ(cell(table, 1, "memory.live_over_reserved_mean").text, "0.875");
  EXPECT_EQ(cell(table, 1, "scheduling.preemptions").text, "4");
  EXPECT_EQ(cell(table, 1, "slots").text, "16");
  EXPECT_EQ(cell(table, 1, "phases.replay_ns").text, "8000000");
  EXPECT_EQ(cell(table, 1, "movement.groups_per_step").text, "4.000");
  // No latency without a verified output; what needs none is there.
  EXPECT_EQ(cell(table, 2, "metrics.output_tokens_per_s").text, "-");
  EXPECT_EQ(cell(table, 2, "phases.plan_ns").text, "-");
  EXPECT_EQ(cell(table, 2, "memory.reserved_byte_seconds").text, "-");
  EXPECT_EQ(cell(table, 2, "memory.reserved_bytes_peak").text, "4.00 GiB");
}

TEST(SweepTable, MarksTheBestOfEachPointWhereOneValueIsBetter) {
  const SweepTable table = sweep_table(fixture_sweep_result());
  const auto best = [&](const std::string& name) {
    std::string rows;
    for (std::size_t row = 0; row < table.rows.size(); ++row) {
      if (cell(table, row, name).best) rows += std::to_string(row);
    }
    return rows;
  };
  // Rows 4 and 5 have no second engine that competes.
  EXPECT_EQ(best("metrics.output_tokens_per_s"), "12");
  EXPECT_EQ(best("movement.bytes"), "13");
  EXPECT_EQ(best("metrics.itl_ms.p50"), "");          // equal
  EXPECT_EQ(best("metrics.itl_ms.p99.9"), "");        // n/a
  EXPECT_EQ(best("padding.attended_positions"), "");  // neither more nor less is better
}

TEST(SweepTable, OnlyAVerifiedEngineThatDecodesCanBeTheBest) {
  ExperimentResult result = fixture_result();
  result.output.columns = {"memory.reserved_bytes_peak"};
  result.engines[2].memory.reserved_bytes_peak = result.engines[1].memory.reserved_bytes_peak;
  result.engines[3].memory.reserved_bytes_peak = 0;
  const SweepTable table = sweep_table(result);  // static, kvrm, paged (incorrect), null, another
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    EXPECT_EQ(table.rows[row].cells[0].best, row == 1) << row;
  }
}

TEST(SweepTable, AxisHeadsAreTheLastPartsOfTheKeys) {
  EXPECT_THAT(axis_heads({"workload.arrivals.rate_per_s", "part", "budget.max_batch"}),
              ElementsAre("rate_per_s", "part", "max_batch"));
  EXPECT_THAT(axis_heads({"engines.a.options.placement", "engines.b.options.placement", "x"}),
              ElementsAre("engines.a.options.placement", "engines.b.options.placement", "x"));
}

TEST(SweepTable, ReplacesTheTablesOfPointsAndComesBeforeThemInTheSummary) {
  const ExperimentResult result = fixture_sweep_result();
  const std::string text = render_table(result, false);
  EXPECT_EQ(text.find("E2E ms"), std::string::npos);
  EXPECT_THAT(text, HasSubstr("placement = lifo: kvrm: incorrect: request 17"));
  EXPECT_THAT(text, HasSubstr("kvrm!"));
  EXPECT_THAT(text, HasSubstr("2 points skipped"));
  const std::string summary = render_summary_markdown(result).value();
  const std::size_t at = summary.find(render_sweep_markdown(sweep_table(result)));
  EXPECT_LT(at, summary.find("| engine | status | tok/s |"));
  EXPECT_EQ(render_summary_markdown(fixture_result()).value().find("All points"),
            std::string::npos);
}

TEST(SweepTable, ColourIsOnlyPaint) {
  const std::string plain = render_table(fixture_sweep_result(), false);
  std::string painted = render_table(fixture_sweep_result(), true);
  EXPECT_NE(plain, painted);
  for (const char* code : {"\x1b[1;32m", "\x1b[1;31m", "\x1b[0m"}) {
    for (std::size_t at = 0; (at = painted.find(code)) != std::string::npos;) {
      painted.erase(at, std::string(code).size());
    }
  }
  EXPECT_EQ(painted, plain);
}

// Random columns, axes and labels: every line fits, the numbers are whole, columns are aligned.
TEST(SweepTable, FitsTheTerminalWhateverIsInIt) {
  const std::vector<std::string> names = metric_column_names();
  std::uint64_t parted = 0;
  std::uint64_t cut = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    RandomStream random(seed, "sweep table");
    ExperimentResult result = fixture_sweep_result();
    result.output.columns.clear();
    for (std::uint64_t left = 1 + random.below(16); left > 0; --left) {
      result.output.columns.push_back(names[random.below(names.size())]);
    }
    result.axes.clear();
    for (std::uint64_t axis = random.below(4); axis > 0; --axis) {
      result.axes.push_back("some.key." + std::string(1 + random.below(30), 'a') +
                            std::to_string(axis));
    }
    for (EngineResult& engine : result.engines) {
      engine.point.clear();
      for (const std::string& axis : result.axes) {
        engine.point[axis] = std::string(1 + random.below(25), 'v');
      }
      engine.info.label += std::string(random.below(30), 'x');
      engine.counters.groups = random.next() >> random.below(64);
      engine.memory.reserved_bytes_peak = random.next() >> random.below(64);
    }
    const SweepTable table = sweep_table(result);
    const std::string text = render_sweep_text(table, false);
    const std::vector<std::string> lines = lines_of(text);
    for (const std::string& line : lines) ASSERT_LE(line.size(), 100U) << line;
    for (const SweepRow& row : table.rows) {
      for (const SweepCell& one : row.cells) ASSERT_THAT(text, HasSubstr(one.text));
    }
    parted += std::count(lines.begin(), lines.end(), "");
    cut += text.find('~') != std::string::npos ? 1 : 0;
  }
  EXPECT_GT(parted, 50U);
  EXPECT_GT(cut, 50U);
}

}  // namespace
}  // namespace kvrm
