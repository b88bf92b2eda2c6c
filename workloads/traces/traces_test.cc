#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "workloads/traces/summary.h"
#include "workloads/traces/trace_reader.h"

namespace kvrm {
namespace {

constexpr const char* kPlain = "arrival_s,prompt_tokens,output_tokens\n";
constexpr const char* kAzure = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
constexpr const char* kBurstGpt =
    "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n";

// Each test runs in a folder of its own, so that messages name files shortly.
class Traces : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              (std::string("kvrm_traces_") +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directories(folder_);
    started_in_ = std::filesystem::current_path();
    std::filesystem::current_path(folder_);
  }
  void TearDown() override {
    std::filesystem::current_path(started_in_);
    std::filesystem::remove_all(folder_);
  }

  static void write(const std::string& name, const std::string& text) {
    std::ofstream(name, std::ios::binary) << text;
  }

  // All rows as "arrival_ns/prompt/output", or the error.
  static std::string read(const std::string& text, const std::string& format = "auto") {
    write("t", text);
    Result<std::unique_ptr<TraceReader>> reader = open_trace("t", format);
    if (!reader) return reader.error().message;
    std::string rows = (*reader)->format() + ":";
    for (;;) {
      Result<std::optional<TraceRow>> row = (*reader)->next();
      if (!row) return row.error().message;
      if (!*row) return rows + fmt::format(" skipped {}", (*reader)->skipped_rows());
      rows +=
          fmt::format(" {}/{}/{}", (*row)->arrival, (*row)->prompt_tokens, (*row)->output_tokens);
      if (!(*row)->prefix_blocks.empty()) rows += fmt::format("{}", (*row)->prefix_blocks);
    }
  }

  std::filesystem::path folder_;
  std::filesystem::path started_in_;
};

TEST_F(Traces, EveryFormatIsRecognisedAndRead) {
  EXPECT_EQ(read(std::string(kPlain) + "0,3,4\n0.285059,1034,769\n"),
            "plain: 0/3/4 285059000/1034/769 skipped 0");
  EXPECT_EQ(
      read(std::string(kAzure) + "1970-01-02 00:00:01.0000001,10,20\n1970-01-02T00:00:01.5Z,1,2"),
      "azure: 86401000000100/10/20 86401500000000/1/2 skipped 0");
  EXPECT_EQ(
      read(std::string(kAzure) +
           "2024-02-29 00:00:00.009930+00:00,10,20\n2024-02-29 02:00:00+01:00,1,2\n"
           "2024-02-28 23:30:00.5-01:30,1,2"),
      "azure: 1709164800009930000/10/20 1709168400000000000/1/2 1709168400500000000/1/2 skipped 0");
  EXPECT_EQ(read(std::string(kBurstGpt) +
                 "5,ChatGPT,472,18,490,Conversation log\n45,GPT-4,0,0,0,API log\n"
                 "46.5,ChatGPT,9,1,10,API log\n"),
            "burstgpt: 5000000000/472/18 46500000000/9/1 skipped 1");
  EXPECT_EQ(
      read("{\"timestamp\": 0, \"input_length\": 6, \"output_length\": 5, \"hash_ids\": [0, 7]}\n"
           "{\"output_length\": 2, \"timestamp\": 2999.5, \"input_length\": 1}\n"),
      "mooncake: 0/6/5[0, 7] 2999500000/1/2 skipped 0");
}

TEST_F(Traces, CarriageReturnsAndAMissingFinalNewlineAreAccepted) {
  EXPECT_EQ(read("arrival_s,prompt_tokens,output_tokens\r\n1,2,3\r\n4,5,6"),
            "plain: 1000000000/2/3 4000000000/5/6 skipped 0");
}

struct ErrorCase {
  std::string text;
  std::string message;
};

TEST_F(Traces, EveryErrorNamesRowAndColumn) {
  const std::string plain = kPlain;
  const std::string azure = kAzure;
  const std::string tokens = "an integer from 1 to 4294967295";
  const std::string stamp = "YYYY-MM-DD HH:MM:SS[.fffffffff][+HH:MM]";
  const std::string mooncake = "{\"timestamp\": 1, \"input_length\": 2, \"output_length\": 3}\n";
  const std::vector<ErrorCase> cases = {
      {"", "t:1:1: found an empty file, allowed: a trace"},
      {plain, "t: found no row, allowed: at least one"},
      {"a,b\n1,2\n",
       "t:1:1: header: found a first line of no known format, allowed: plain "
       "(arrival_s,prompt_tokens,output_tokens); "
       "azure (TIMESTAMP,ContextTokens,GeneratedTokens); burstgpt (Timestamp,Model,Request "
       "tokens,Response "
       "tokens,Total tokens,Log Type); mooncake ({\"timestamp\": .., \"input_length\": .., "
       "\"output_length\": ..})"},
      {std::string("\x7f"
                   "ELF\0\1",
                   6),
       "t:1:1: found a control character, allowed: text"},
      {plain + std::string("1,2\0,3\n", 7), "t:2:4: found a control character, allowed: text"},
      {plain + std::string((4U << 20) + 1, '1'),
       "t:2:4194305: found a longer line, allowed: lines of at most 4 MiB"},
      {plain + "1,2\n",
       "t:2:4: row: found 2 fields, allowed: 3: arrival_s,prompt_tokens,output_tokens"},
      {plain + "1,2,3,4\n",
       "t:2:7: row: found 4 fields, allowed: 3: arrival_s,prompt_tokens,output_tokens"},
      {plain + "1,2,3\n\n2,2,3\n", "t:3:1: row: found an empty line, allowed: a row on each line"},
      {plain + "x,2,3\n", "t:2:1: arrival_s: found \"x\", allowed: seconds from 0 to 1e+09"},
      {plain + "-1,2,3\n", "t:2:1: arrival_s: found \"-1\", allowed: seconds from 0 to 1e+09"},
      {plain + "nan,2,3\n", "t:2:1: arrival_s: found \"nan\", allowed: seconds from 0 to 1e+09"},
      {plain + "1,-2,3\n", "t:2:3: prompt_tokens: found \"-2\", allowed: " + tokens},
      {plain + "1,0,3\n", "t:2:3: prompt_tokens: found \"0\", allowed: " + tokens},
      {plain + "1,2,\n", "t:2:5: output_tokens: found \"\", allowed: " + tokens},
      {plain + "1,2,3.5\n", "t:2:5: output_tokens: found \"3.5\", allowed: " + tokens},
      {plain + "1,2,4294967296\n",
       "t:2:5: output_tokens: found \"4294967296\", allowed: " + tokens},
      {plain + "2,2,3\n1.5,2,3\n",
       "t:3:1: arrival_s: found a time before that of the row above, allowed: rows in order of "
       "time"},
      {azure + "2023-02-29 00:00:00,2,3\n",
       "t:2:1: TIMESTAMP: found \"2023-02-29 00:00:00\", allowed: " + stamp},
      {azure + "2023-02-28 24:00:00,2,3\n",
       "t:2:1: TIMESTAMP: found \"2023-02-28 24:00:00\", allowed: " + stamp},
      {azure + "2023-02-28 00:00:00.,2,3\n",
       "t:2:1: TIMESTAMP: found \"2023-02-28 00:00:00.\", allowed: " + stamp},
      {azure + "2023-02-28 00:00:00+1,2,3\n",
       "t:2:1: TIMESTAMP: found \"2023-02-28 00:00:00+1\", allowed: " + stamp},
      {azure + "2023-02-28,2,3\n", "t:2:1: TIMESTAMP: found \"2023-02-28\", allowed: " + stamp},
      {azure + "2023-02-28 00:00:00,b,3\n",
       "t:2:21: ContextTokens: found \"b\", allowed: " + tokens},
      {azure + "2023-02-28 00:00:00,1,b\n",
       "t:2:23: GeneratedTokens: found \"b\", allowed: " + tokens},
      {std::string(kBurstGpt) + "1,m,0,5,5,log\n",
       "t:2:5: Request tokens: found \"0\", allowed: " + tokens},
      {std::string(kBurstGpt) + "1,m,5,-5,5,log\n",
       "t:2:7: Response tokens: found \"-5\", allowed: an integer from 0 to 4294967295"},
      {mooncake + "{\"timestamp\": 1, \"input_len",
       "t:2:28: row: found text that is not JSON, allowed: a JSON object on each line"},
      {mooncake + "[1]\n",
       "t:2:1: row: found JSON that is no object, allowed: a JSON object on each line"},
      {mooncake + "{\"timestamp\": 1e999}\n",
       "t:2:1: row: found a number beyond all doubles, allowed: a JSON object on each line"},
      {mooncake + "{\"timestamp\": " + std::string(2'000'000, '[') + std::string(2'000'000, ']') +
           "}\n",
       "t:2:15: timestamp: found a list of lists or objects, allowed: milliseconds from 0 to "
       "1e+12"},
      {mooncake + "{\"timestamp\": \"x\"}\n",
       "t:2:15: timestamp: found \"x\", allowed: milliseconds from 0 to 1e+12"},
      {mooncake + "{\"timestamp\": 1, \"input_length\": 0}\n",
       "t:2:34: input_length: found 0, allowed: " + tokens},
      {mooncake + "{\"timestamp\": 1, \"input_length\": 3}\n",
       "t:2:1: output_length: found nothing, allowed: " + tokens},
      {mooncake +
           "{\"timestamp\": 1, \"input_length\": 3, \"output_length\": 3, \"hash_ids\": [-1]}\n",
       "t:2:69: hash_ids: found [-1], allowed: a list of integers from 0"},
      {mooncake + "{\"timestamp\": 0, \"input_length\": 3, \"output_length\": 3}\n",
       "t:2:15: timestamp: found a time before that of the row above, allowed: rows in order of "
       "time"},
  };
  for (const ErrorCase& error : cases) EXPECT_EQ(read(error.text), error.message);
  EXPECT_EQ(read("1,2,3\n", "plain"),
            "t:1:1: header: found \"1,2,3\", allowed: arrival_s,prompt_tokens,output_tokens");
  EXPECT_EQ(read(plain + "1,2,3\n", "azur"),
            "t: found the trace format \"azur\", allowed: auto, plain, azure, burstgpt, mooncake");
}

TEST_F(Traces, FilesThatCannotBeReadAreErrors) {
  std::filesystem::create_directory("folder");
  EXPECT_EQ(open_trace("nowhere.csv", "auto").error().message,
            "nowhere.csv: found no such file, allowed: a trace file");
  EXPECT_EQ(open_trace("folder", "auto").error().message,
            "folder: found a directory, allowed: a trace file");
}

TEST_F(Traces, SummaryOfAHandMadeTrace) {
  write("t", std::string(kPlain) + "10,1,10\n10.5,2,20\n10.9,3,30\n11.4,4,40\n13,5,50\n");
  const Result<TraceSummary> found = summarise_trace("t", "auto");
  ASSERT_TRUE(found.has_value()) << found.error().message;
  EXPECT_EQ(found->format, "plain");
  EXPECT_EQ(found->rows, 5U);
  EXPECT_DOUBLE_EQ(found->duration_s, 3.0);
  EXPECT_DOUBLE_EQ(found->rate_per_s, 5.0 / 3.0);
  EXPECT_DOUBLE_EQ(found->prompt_mean, 3.0);
  const std::map<std::string, std::uint64_t> prompts = {{"p0", 1},  {"p50", 3}, {"p90", 5},
                                                        {"p95", 5}, {"p99", 5}, {"p100", 5}};
  EXPECT_EQ(found->prompt_tokens, prompts);
  EXPECT_EQ(found->output_tokens.at("p50"), 30U);
  // 10.5, 10.9 and 11.4 lie within one second, though not within one aligned second.
  EXPECT_EQ(found->peak_arrivals.at(1), 3U);
  EXPECT_EQ(found->peak_arrivals.at(60), 5U);
  // Whole seconds from 10: 3, 1 and 0 arrivals; mean 4/3, sample variance 7/3.
  EXPECT_DOUBLE_EQ(found->dispersion.at(1), 7.0 / 4.0);
  EXPECT_FALSE(found->prefix_block_hit_ratio.has_value());
}

TEST_F(Traces, PrefixHitsEndAtTheFirstNewBlock) {
  const auto row = [](const char* ids) {
    return fmt::format(
        "{{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 1, \"hash_ids\": [{}]}}\n",
        ids);
  };
  write("t", row("1, 2, 3") + row("1, 2, 9, 3") + row("9"));
  const Result<TraceSummary> found = summarise_trace("t", "mooncake");
  ASSERT_TRUE(found.has_value()) << found.error().message;
  EXPECT_DOUBLE_EQ(found->prefix_block_hit_ratio.value(), 3.0 / 8.0);
}

struct KnownTrace {
  std::string file;
  std::uint64_t rows;
  double duration_s;
  std::vector<std::uint64_t> prompt;  // p0 p50 p90 p95 p99 p100
  std::vector<std::uint64_t> output;
  std::vector<std::uint64_t> peaks;  // 1, 10, 60 s
  std::vector<double> dispersion;
};

// The figures were derived from the same files by an independent program (the data's own notes).
TEST(RealTraces, SummariesAreTheDerivedFacts) {
  const char* const given = std::getenv("KVRM_DATA_DIR");
  const std::string data = given != nullptr ? given : KVRM_SOURCE_DIR "/../shared/data";
  if (!std::filesystem::exists(data + "/traces")) GTEST_SKIP() << "no traces in " << data;
  const std::vector<KnownTrace> traces = {
      {"azure_2023_conv.csv",
       19366,
       3501.722,
       {2, 1020, 2735, 4083, 4142, 14050},
       {7, 129, 424, 451, 601, 1000},
       {19, 112, 522},
       {1.386, 3.868, 16.411}},
      {"azure_2023_code.csv",
       8819,
       3435.948,
       {3, 1469, 5194, 7315, 7436, 7437},
       {6, 13, 55, 90, 252, 1899},
       {72, 415, 723},
       {13.190, 71.851, 166.893}},
      {"mooncake_conversation.jsonl",
       12031,
       3536.999,
       {891, 6909, 27367, 39552, 85401, 126195},
       {1, 350, 597, 698, 1120, 2000},
       {28, 73, 260},
       {7.9, 2.105, 2.946}},
  };
  for (const KnownTrace& trace : traces) {
    SCOPED_TRACE(trace.file);
    const Result<TraceSummary> found = summarise_trace(data + "/traces/" + trace.file, "auto");
    ASSERT_TRUE(found.has_value()) << found.error().message;
    EXPECT_EQ(found->rows, trace.rows);
    EXPECT_NEAR(found->duration_s, trace.duration_s, 5e-4);
    const std::vector<std::string> names = {"p0", "p50", "p90", "p95", "p99", "p100"};
    for (std::size_t i = 0; i < names.size(); ++i) {
      EXPECT_EQ(found->prompt_tokens.at(names[i]), trace.prompt[i]) << names[i];
      EXPECT_EQ(found->output_tokens.at(names[i]), trace.output[i]) << names[i];
    }
    const std::vector<std::uint32_t> windows = {1, 10, 60};
    for (std::size_t i = 0; i < windows.size(); ++i) {
      EXPECT_EQ(found->peak_arrivals.at(windows[i]), trace.peaks[i]) << windows[i];
      EXPECT_NEAR(found->dispersion.at(windows[i]), trace.dispersion[i], 6e-4) << windows[i];
    }
  }
  const Result<TraceSummary> mooncake =
      summarise_trace(data + "/traces/mooncake_conversation.jsonl", "auto");
  EXPECT_NEAR(mooncake->prefix_block_hit_ratio.value(), 0.36641, 5e-6);
}

}  // namespace
}  // namespace kvrm
