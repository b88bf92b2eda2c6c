// All files or none: replacing, failing half way, and the names.
#include "harness/result/results_directory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <set>

namespace kvrm {
namespace {

namespace fs = std::filesystem;

class ResultsDirectoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    root_ = fs::path(::testing::TempDir()) / (std::string("kvrm_results_") + test->name());
    fs::remove_all(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  static std::string read(const fs::path& file) {
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::set<std::string> names() const {
    std::set<std::string> found;
    for (const auto& entry : fs::directory_iterator(root_)) {
      found.insert(entry.path().filename().string());
    }
    return found;
  }

  fs::path root_;
};

// Files above 1 KiB cannot be written while this lives: what a full disk does.
class TinyFileLimit {
 public:
  TinyFileLimit() : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &saved_);
    const rlimit tiny = {1024, saved_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &tiny);
  }
  TinyFileLimit(const TinyFileLimit&) = delete;
  TinyFileLimit& operator=(const TinyFileLimit&) = delete;
  ~TinyFileLimit() {
    setrlimit(RLIMIT_FSIZE, &saved_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit saved_{};
};

TEST_F(ResultsDirectoryTest, WritesEveryFileAndReplacesOlderOnes) {
  const std::vector<ResultFile> first = {{"a.json", "one"}, {"rows.csv", "x,y\n"}};
  ASSERT_TRUE(prepare_results_directory(root_ / "deep"));
  ASSERT_TRUE(write_results_directory(root_, first));
  EXPECT_EQ(read(root_ / "a.json"), "one");
  const std::vector<ResultFile> second = {{"a.json", "two"}, {"rows.csv", ""}};
  ASSERT_TRUE(write_results_directory(root_, second));
  EXPECT_EQ(read(root_ / "a.json"), "two");
  EXPECT_EQ(names(), (std::set<std::string>{"a.json", "deep"}));
  EXPECT_TRUE(fs::is_empty(root_ / "deep"));
}

TEST_F(ResultsDirectoryTest, FullDiskLeavesWhatWasThere) {
  const std::vector<ResultFile> before = {{"a.json", "old"}};
  ASSERT_TRUE(write_results_directory(root_, before));
  const std::vector<ResultFile> files = {{"a.json", "new"}, {"big.csv", std::string(5000, 'x')}};
  Status status;
  {
    const TinyFileLimit limit;
    status = write_results_directory(root_, files);
  }
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ExitCode::incomplete);
  EXPECT_EQ(status.error().message,
            (root_ / "big.csv").string() + ": cannot be written: File too large");
  EXPECT_EQ(read(root_ / "a.json"), "old");
  EXPECT_EQ(names(), std::set<std::string>{"a.json"});
}

TEST_F(ResultsDirectoryTest, UnwritablePlaceIsOneErrorWithItsCause) {
  fs::create_directories(root_);
  std::ofstream(root_ / "file") << "in the way";
  const Status prepared = prepare_results_directory(root_ / "file" / "out");
  ASSERT_FALSE(prepared);
  EXPECT_EQ(prepared.error().code, ExitCode::incomplete);
  EXPECT_EQ(prepared.error().message,
            (root_ / "file" / "out").string() + ": cannot be written: Not a directory");
  const std::vector<ResultFile> files = {{"a.json", "x"}};
  EXPECT_FALSE(write_results_directory(root_ / "file", files));
  EXPECT_EQ(read(root_ / "file"), "in the way");
}

TEST_F(ResultsDirectoryTest, DefaultNameHasTheTimeAndNoOddCharacters) {
  EXPECT_EQ(default_results_directory("quickstart", 0), "results/quickstart-19700101T000000Z");
  EXPECT_EQ(default_results_directory("a b/../c", 86399), "results/a-b-..-c-19700101T235959Z");
  EXPECT_EQ(default_results_directory("", 0), "results/experiment-19700101T000000Z");
}

}  // namespace
}  // namespace kvrm
