#include "harness/config/reference.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

namespace kvrm {
namespace {

// docs/experiments.md holds the table between these two lines.
constexpr const char* kBegin = "<!-- keys: generated from harness/config -->\n";
constexpr const char* kEnd = "<!-- end of keys -->\n";

TEST(Reference, TheTableInTheDocumentIsTheGeneratedOne) {
  std::ifstream in(std::string(KVRM_SOURCE_DIR) + "/docs/experiments.md");
  const std::string document{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
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
