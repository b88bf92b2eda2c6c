// The bytes of every writer for one fixed result, against the approved ones in reports/baselines,
// and what must hold for any result. Run with --update to write the baselines and docs/metrics.md
// anew; the difference is then for a person to read.
#include "reports/writers/writers.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "harness/base/hash.h"
#include "harness/metrics/dictionary.h"
#include "reports/writers/fixture_result.h"
#include "reports/writers/format.h"
#include "reports/writers/sweep_table.h"

namespace kvrm {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::ordered_json;

const std::filesystem::path kSource = KVRM_SOURCE_DIR;

struct ApprovedFile {
  std::filesystem::path path;
  std::string content;
};

std::vector<ApprovedFile> rendered_files() {
  const ExperimentResult result = fixture_result();
  const std::filesystem::path baselines = kSource / "reports" / "baselines";
  std::vector<ApprovedFile> files;
  for (const WriterEntry& writer : report_writers()) {
    files.push_back({baselines / writer.file_name, writer.render(result).value()});
  }
  files.push_back({baselines / "table.txt", render_table(result, false)});
  const ExperimentResult sweep = fixture_sweep_result();
  files.push_back({baselines / "sweep_table.txt", render_table(sweep, false)});
  files.push_back({baselines / "sweep_table.md", render_sweep_markdown(sweep_table(sweep))});
  files.push_back({kSource / "docs" / "metrics.md", render_dictionary_markdown()});
  return files;
}

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(Writers, BytesAreTheApprovedOnes) {
  for (const ApprovedFile& file : rendered_files()) {
    EXPECT_FALSE(file.content.empty()) << file.path;
    EXPECT_EQ(file.content, read(file.path)) << file.path << ": rerun with --update and read it";
  }
}

TEST(ResultsJson, NotAvailableIsNullAndInfiniteIsAWord) {
  const Json json = Json::parse(render_results_json(fixture_result()).value());
  const Json& kvrm = json["engines"][1];
  EXPECT_TRUE(kvrm["metrics"]["ttft_ms"]["p99.9"].is_null());
  EXPECT_EQ(kvrm["metrics"]["e2e_ms"]["p99"]["value"], "inf");
  EXPECT_EQ(kvrm["metrics"]["e2e_ms"]["p99"]["low"], 3000);
  EXPECT_EQ(kvrm["output_digest"], "0123456789abcdef");
  EXPECT_EQ(kvrm["launch_hash"], "000000000000feed");
  EXPECT_EQ(kvrm["movement"]["groups_per_step"], 4);
  EXPECT_EQ(kvrm["movement"]["blocks_per_group_mean"], 4);
  EXPECT_EQ(kvrm["padding"]["padding_row_share"], 0.1);
}

// Whatever has a time in it, gone with the verification.
TEST(Writers, NoLatencyWithoutAVerifiedOutput) {
  for (const RunStatus status : {RunStatus::incorrect, RunStatus::invalid, RunStatus::incomplete}) {
    ExperimentResult result = fixture_result();
    result.engines[1].status = status;  // its metrics are still there by mistake
    const Json json = Json::parse(render_results_json(result).value());
    for (const char* key : {"metrics", "spikes", "phases"}) {
      EXPECT_FALSE(json["engines"][1].contains(key)) << key;
      EXPECT_TRUE(json["engines"][0].contains(key)) << key;
    }
    EXPECT_FALSE(json["engines"][1]["memory"].contains("live_byte_seconds"));
    EXPECT_TRUE(json["engines"][1]["memory"].contains("reserved_bytes_peak"));
    for (const auto& csv : {render_requests_csv(result), render_steps_csv(result)}) {
      for (const std::string& line : lines_of(csv.value())) {
        const bool unverified = line.find("kvrm_fused") != std::string::npos;
        const bool verified = line.find("static") != std::string::npos;
        if (unverified) {
          EXPECT_THAT(line, EndsWith(",,,,"));
        }
        if (verified) {
          EXPECT_THAT(line, Not(EndsWith(",,,,")));
        }
      }
    }
    for (const std::string& text :
         {render_table(result, false), render_summary_markdown(result).value()}) {
      EXPECT_EQ(text.find("1800"), std::string::npos) << run_status_name(status);
    }
  }
}

TEST(ResultsJson, EveryNumberStandsInTheDictionary) {
  std::set<std::string> names;
  for (const MetricEntry& entry : metric_dictionary()) names.insert(std::string(entry.name));
  const Json json = Json::parse(render_results_json(fixture_result()).value());
  const Json& engine = json["engines"][1];
  std::set<std::string> used = {"comparisons.ratio"};
  for (const auto& [part, values] : engine.items()) {
    if (values.is_number()) used.insert(part);
    if (!values.is_object() || part == "point") continue;
    for (const auto& [key, value] : values.items()) used.insert(part + "." + key);
  }
  for (const auto& [key, value] : json["engines"][4]["far_history"].items()) {
    used.insert("far_history." + key);
  }
  EXPECT_EQ(used, names);
}

TEST(ResultsJson, ReportDigestSealsTheFile) {
  ExperimentResult result = fixture_result();
  const auto report = [](const ExperimentResult& of) {
    return Json::parse(render_results_json(of).value())["digests"]["report"].get<std::string>();
  };
  const std::string before = report(result);
  EXPECT_EQ(before.size(), 16U);
  EXPECT_EQ(report(result), before);
  result.engines[0].requests.finished += 1;
  EXPECT_NE(report(result), before);
  result = fixture_result();
  result.logs[0][0].steps[0].end += 1;  // the event logs are sealed with it
  EXPECT_NE(report(result), before);
}

TEST(ResultsJson, ASinglePointHasItsDigestsAtTheTop) {
  ExperimentResult result = fixture_result();
  result.digests.pop_back();
  const Json digests = Json::parse(render_results_json(result).value())["digests"];
  EXPECT_EQ(digests["outputs"], "0000000000000003");
  EXPECT_EQ(digests["workload"], digests["points"][0]["workload"]);
}

TEST(ResultsJson, TextThatIsNotUtf8IsReplacedNotLost) {
  ExperimentResult result = fixture_result();
  result.engines[2].status_reason = "file \xff gone";
  const Json json = Json::parse(render_results_json(result).value());
  EXPECT_EQ(json["engines"][2]["status_reason"], "file \xEF\xBF\xBD gone");
}

TEST(Csv, RowsAllSampledAndNone) {
  ExperimentResult result = fixture_result();
  result.engines.resize(1);
  result.logs.resize(1);
  result.logs[0].resize(1);
  result.logs[0][0].steps.resize(2500);
  EXPECT_EQ(lines_of(render_steps_csv(result).value()).size(), 2501U);
  result.output.steps = RowDetail::sampled;
  const auto lines = lines_of(render_steps_csv(result).value());
  ASSERT_EQ(lines.size(), 1U + 834U);
  EXPECT_THAT(lines[1], HasSubstr("part=attention,static,0,0,"));
  EXPECT_THAT(lines[2], HasSubstr("part=attention,static,0,3,"));
  EXPECT_LE(lines.size() - 1, kSampledRows);
  result.output.steps = RowDetail::none;
  EXPECT_EQ(render_steps_csv(result).value(), "");
}

TEST(Csv, EveryRowHasAsManyFieldsAsTheHeaderAndTextIsQuoted) {
  ExperimentResult result = fixture_result();
  for (const auto& csv : {render_requests_csv(result), render_steps_csv(result)}) {
    const auto lines = lines_of(csv.value());
    for (const std::string& line : lines) {
      EXPECT_EQ(std::count(line.begin(), line.end(), ','),
                std::count(lines[0].begin(), lines[0].end(), ','))
          << line;
    }
  }
  result.engines[0].info.label = "static \"a\", b";
  EXPECT_THAT(render_requests_csv(result).value(),
              HasSubstr("part=attention,\"static \"\"a\"\", b\",0,0,finished,"));
}

TEST(Table, FitsTheTerminalWhateverTheNumbers) {
  ExperimentResult result = fixture_result();
  result.question = std::string(350, 'q') + " and " + std::string(60, 'r');
  for (EngineResult& engine : result.engines) {
    engine.info.label += "_with_a_very_long_label_indeed";
    engine.status_reason = "because of " + std::string(200, 'x');
    engine.memory.reserved_bytes_peak = 1023 * kGiB;
    if (!engine.metrics) continue;
    engine.metrics->output_tokens_per_s = {987654.321, 1, 2e6};
    engine.metrics->latency.ttft_ms["p50"] = Estimate{98765.4321, 1, 1};
    engine.metrics->latency.ttft_ms["p99"] = Estimate{1.23e12, 1, 1};
  }
  std::set<std::size_t> row_widths;
  for (const std::string& line : lines_of(render_table(result, false))) {
    EXPECT_LE(line.size(), 100U) << line;
    if (line.find("verified") != std::string::npos && line.find('~') != std::string::npos) {
      row_widths.insert(line.find("verified"));
    }
  }
  EXPECT_EQ(row_widths.size(), 1U);  // aligned
}

TEST(Table, MarksTheBestOfThoseThatDecode) {
  const std::string table = render_table(fixture_result(), false);
  std::map<std::string, std::string> rows;
  for (const std::string& line : lines_of(table)) rows[line.substr(0, line.find(' '))] = line;
  EXPECT_THAT(rows["kvrm_fused"], HasSubstr("1800*"));
  EXPECT_THAT(rows["kvrm_fused"], HasSubstr("1.50 GiB*"));
  EXPECT_THAT(rows["kvrm_fused"], HasSubstr("inf "));
  EXPECT_THAT(rows["static"], Not(HasSubstr("1251*")));
  EXPECT_THAT(rows["static"], HasSubstr("4600*"));  // against an infinite one
  EXPECT_THAT(rows["null"], Not(HasSubstr("*")));
  EXPECT_THAT(rows["kvrm_far"], Not(HasSubstr("*")));
  EXPECT_THAT(rows["paged"], Not(HasSubstr("*")));
  EXPECT_THAT(rows["paged"], HasSubstr("incorrect"));
}

TEST(FarHistory, StandsBesideApproximateResultsAndNowhereElse) {
  ExperimentResult result = fixture_result();
  const Json json = Json::parse(render_results_json(result).value());
  for (const Json& engine : json["engines"]) {
    EXPECT_EQ(engine.contains("far_history"), engine["status"] == "approximate") << engine["name"];
  }
  const Json& far = json["engines"][4]["far_history"];
  EXPECT_EQ(far["rule"]["window_tokens"], 1024);
  EXPECT_EQ(far["error_mean"], 8.0 / 4096);
  EXPECT_EQ(far["bound_mean"], 0.25);
  EXPECT_THAT(render_table(result, false),
              HasSubstr("kvrm_far: error 0.002 (max 0.031), bound 0.25 (0.5), error/bound at most "
                        "0.25\n"));
  result.engines[4].shadow = {};
  EXPECT_THAT(render_table(result, false),
              HasSubstr("kvrm_far: no output that was checked had a summary to see\n"));
  EXPECT_THAT(render_summary_markdown(result).value(), HasSubstr("| kvrm_far | 64 + 32 + 1024 |"));
  // What the oracle says of the rule says nothing of an engine that broke it.
  result.engines[4].status = RunStatus::incorrect;
  EXPECT_THAT(render_table(result, false), Not(HasSubstr("summary to see")));
  EXPECT_THAT(render_summary_markdown(result).value(), Not(HasSubstr("64 + 32 + 1024")));
}

TEST(Table, ColourIsOnlyPaint) {
  const std::string plain = render_table(fixture_result(), false);
  std::string painted = render_table(fixture_result(), true);
  EXPECT_NE(plain, painted);
  for (const char* code : {"\x1b[1;32m", "\x1b[1;31m", "\x1b[0m"}) {
    for (std::size_t at = 0; (at = painted.find(code)) != std::string::npos;) {
      painted.erase(at, std::string(code).size());
    }
  }
  EXPECT_EQ(painted, plain);
}

TEST(Format, CountsAreExactBelowTenMillion) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(9'999'999), "9999999");
  EXPECT_EQ(format_count(10'000'000), "10.00M");
  EXPECT_EQ(format_count(999'940'000), "999.9M");
  EXPECT_EQ(format_count(999'960'000), "1.000G");
  EXPECT_EQ(format_count(4'100'000'000'000), "4.100T");
}

TEST(Format, FourDigitsInSixCharacters) {
  EXPECT_EQ(format_value(1.23456), "1.235");
  EXPECT_EQ(format_value(9.99951), "10.00");
  EXPECT_EQ(format_value(98.765), "98.77");
  EXPECT_EQ(format_value(999.96), "1000");
  EXPECT_EQ(format_value(999999.4), "999999");
  EXPECT_EQ(format_value(1234567), "1e+06");
  EXPECT_EQ(format_value(std::numeric_limits<double>::infinity()), "inf");
  EXPECT_EQ(format_estimate(Estimate{2, 1.5, 2.5}), "2.000 [1.500, 2.500]");
  EXPECT_EQ(format_estimate(Estimate{2, 2, 2}), "2.000");
  EXPECT_EQ(format_estimate(std::optional<Estimate>()), "n/a");
}

int update_approved_files() {
  for (const ApprovedFile& file : rendered_files()) {
    std::ofstream(file.path, std::ios::binary) << file.content;
    fmt::print("wrote {}\n", file.path.string());
  }
  return 0;
}

}  // namespace
}  // namespace kvrm

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (argc > 1 && std::string(argv[1]) == "--update") return kvrm::update_approved_files();
  return RUN_ALL_TESTS();
}
