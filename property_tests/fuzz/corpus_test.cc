// Every file of the corpora through its target, and then each again with damage of many kinds: what
// a fuzzer once found stays found, with any compiler.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "harness/base/prng.h"
#include "property_tests/fuzz/fuzz_target.h"

namespace kvrm {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t kDamagedCopies = 40;  // of each file

struct CorpusFile {
  std::string name;
  Bytes bytes;
};

std::vector<CorpusFile> corpus(const std::string& target) {
  const std::filesystem::path folder =
      std::filesystem::path(KVRM_SOURCE_DIR) / "property_tests/fuzz/corpus" / target;
  std::vector<CorpusFile> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream in(entry.path(), std::ios::binary);
    files.push_back({entry.path().filename().string(),
                     {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()}});
  }
  std::ranges::sort(files, {}, &CorpusFile::name);
  return files;
}

// One to four changes: a bit, a byte, a piece cut out, a piece of another file put in.
Bytes damaged(Bytes bytes, const Bytes& other, RandomStream& random) {
  for (std::uint64_t changes = 1 + random.below(4); changes > 0 && !bytes.empty(); --changes) {
    const auto at = static_cast<std::ptrdiff_t>(random.below(bytes.size()));
    const auto end = at + static_cast<std::ptrdiff_t>(
                              random.below(std::min<std::uint64_t>(bytes.size() - at, 32) + 1));
    const std::uint64_t kind = random.below(4);
    if (kind == 0) bytes[at] ^= static_cast<std::uint8_t>(1U << random.below(8));
    if (kind == 1) bytes[at] = static_cast<std::uint8_t>(random.next());
    if (kind == 2) bytes.erase(bytes.begin() + at, bytes.begin() + end);
    if (kind == 3) {
      const auto from = static_cast<std::ptrdiff_t>(random.below(other.size() + 1));
      const auto count = std::min<std::ptrdiff_t>(32, std::ssize(other) - from);
      bytes.insert(bytes.begin() + at, other.begin() + from, other.begin() + from + count);
    }
  }
  return bytes;
}

struct Outcomes {
  int accepted = 0;
  int refused = 0;
  void add(FuzzOutcome outcome) { ++(outcome == FuzzOutcome::accepted ? accepted : refused); }
};

// The outcomes of the files as they are.
Outcomes run_corpus(const std::string& target, FuzzTarget fuzz) {
  const std::vector<CorpusFile> files = corpus(target);
  Outcomes whole;
  RandomStream random(1, target);
  for (const CorpusFile& file : files) {
    SCOPED_TRACE(file.name);
    whole.add(fuzz(file.bytes));
    for (std::uint64_t i = 0; i < kDamagedCopies; ++i) {
      const Bytes& other = files[random.below(files.size())].bytes;
      fuzz(damaged(file.bytes, other, random));
    }
  }
  EXPECT_GT(whole.accepted, 0);
  return whole;
}

TEST(FuzzCorpus, Experiments) { EXPECT_GT(run_corpus("experiment", fuzz_experiment).refused, 0); }

TEST(FuzzCorpus, Traces) { EXPECT_GT(run_corpus("traces", fuzz_traces).refused, 0); }

TEST(FuzzCorpus, Checkpoints) { EXPECT_GT(run_corpus("checkpoint", fuzz_checkpoint).refused, 0); }

TEST(FuzzCorpus, Tokenizers) { EXPECT_GT(run_corpus("tokenizer", fuzz_tokenizer).refused, 0); }

TEST(FuzzCorpus, Prompts) { EXPECT_GT(run_corpus("prompts", fuzz_prompts).refused, 0); }

TEST(FuzzCorpus, DescriptorLogs) {
  EXPECT_GT(run_corpus("descriptor_log", fuzz_descriptor_log).refused, 0);
}

TEST(FuzzCorpus, LogReplays) { EXPECT_GT(run_corpus("log_replay", fuzz_log_replay).refused, 0); }

// Writers refuse nothing.
TEST(FuzzCorpus, Reports) { EXPECT_EQ(run_corpus("reports", fuzz_reports).refused, 0); }

}  // namespace
}  // namespace kvrm
