#include "harness/config/reference.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "harness/config/parse.h"

namespace kvrm {
namespace {

// docs/experiments.md holds the table between these two lines.
constexpr const char* kBegin = "<!-- keys: generated from harness/config -->\n";
constexpr const char* kEnd = "<!-- end of keys -->\n";

std::string read_document() {
  std::ifstream in(std::string(KVRM_SOURCE_DIR) + "/docs/experiments.md");
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

TEST(Reference, TheExampleInTheDocumentIsAnExperiment) {
  const std::string document = read_document();
  const std::string fence = "```yaml\n";
  const std::size_t begin = document.find(fence);
  ASSERT_NE(begin, std::string::npos);
  ParseRequest request;
  request.file = "docs/experiments.md";
  request.text =
      document.substr(begin + fence.size(), document.find("```", begin + 3) - begin - fence.size());
  request.engine_kinds = {"paged", "kvrm"};
  request.backend_kinds = {"cpu"};
  const Result<Experiment> experiment = parse_experiment(request);
  ASSERT_TRUE(experiment.has_value()) << experiment.error().message;
  EXPECT_EQ(experiment->points.at(0).engines.at(2).label, "kvrm-extent");
}

TEST(Reference, TheTableInTheDocumentIsTheGeneratedOne) {
  const std::string document = read_document();
  const std::size_t begin = document.find(kBegin);
  const std::size_t end = document.find(kEnd);
  ASSERT_NE(begin, std::string::npos);
  ASSERT_NE(end, std::string::npos);
  const std::size_t table = begin + std::string(kBegin).size();
  EXPECT_EQ(document.substr(table, end - table),
            "\n" +
                experiment_key_table({"static", "paged", "paged_graph", "kvrm", "null"}, {"cpu"}) +
                "\n")
      << "copy the generated table above into docs/experiments.md";
}

}  // namespace
}  // namespace kvrm
