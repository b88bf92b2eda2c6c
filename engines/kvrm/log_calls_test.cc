// Calls that no driver makes are named before an engine sees them.
#include "engines/kvrm/log_calls.h"

#include <gtest/gtest.h>

namespace kvrm {
namespace {

constexpr std::uint32_t kVocabulary = 10;

class LogCallsTest : public ::testing::Test {
 protected:
  static EngineInfo info() {
    EngineInfo info;
    info.slots = 3;
    info.max_history_tokens = 8;
    info.can_fork = true;
    return info;
  }
  std::string admit(SlotIndex slot, std::vector<TokenId> tokens,
                    std::optional<SlotIndex> fork_from = {}) {
    Admission admission{
        .slot = slot, .token_count = static_cast<std::uint32_t>(tokens.size()), .tokens = tokens};
    admission.fork_from = fork_from;
    return calls_.admit(admission);
  }
  // A slot whose prompt of three tokens is prefilled.
  void start(SlotIndex slot) {
    ASSERT_EQ(admit(slot, {1, 2, 3}), "");
    ASSERT_EQ(calls_.prefill({.slot = slot, .first = 0, .count = 3, .last = true}), "");
  }
  std::string step(std::vector<SlotIndex> slots) { return calls_.step(slots); }

  LogCalls calls_{info(), kVocabulary};
};

TEST_F(LogCallsTest, TheProtocolPasses) {
  start(0);
  EXPECT_EQ(calls_.extend(0), "");
  EXPECT_EQ(step({0}), "");
  EXPECT_EQ(admit(2, {1, 2, 3, 4, 5}, 0), "");  // four positions are computed, the fifth is new
  EXPECT_EQ(calls_.extend(0), "");
  EXPECT_EQ(calls_.extend(2), "");
  EXPECT_EQ(step({0, 2}), "");
  EXPECT_EQ(calls_.release(0), "");
  EXPECT_EQ(calls_.release(0), "");  // idempotent
  EXPECT_EQ(admit(0, {1}), "");
}

TEST_F(LogCallsTest, Admissions) {
  start(0);
  EXPECT_NE(admit(0, {1}), "");
  EXPECT_NE(admit(3, {1}), "");
  EXPECT_NE(admit(1, {}), "");
  EXPECT_NE(admit(1, std::vector<TokenId>(9, 1)), "");
  EXPECT_NE(admit(1, {kVocabulary}), "");
  EXPECT_NE(calls_.admit({.slot = 1, .token_count = 2}), "");
  EXPECT_NE(admit(1, {1, 2, 3, 4, 5}, 0), "");  // only three positions are computed
  EXPECT_NE(admit(1, {1}, 0), "");              // shares nothing
  EXPECT_NE(admit(1, {1, 2}, 2), "");           // nothing there
  EXPECT_NE(admit(1, {1, 2}, 3), "");
  EXPECT_EQ(admit(1, {1, 2}), "");
  EXPECT_NE(admit(2, {1, 2}, 1), "") << "its prompt is not prefilled";
}

TEST_F(LogCallsTest, AttentionOnlyHasNoTokens) {
  LogCalls calls(info(), 0);
  EXPECT_EQ(calls.admit({.slot = 0, .token_count = 2}), "");
  const TokenId tokens[] = {1, 2};
  EXPECT_NE(calls.admit({.slot = 1, .token_count = 2, .tokens = tokens}), "");
}

TEST_F(LogCallsTest, EnginesThatCannotFork) {
  EngineInfo plain = info();
  plain.can_fork = false;
  LogCalls calls(plain, 0);
  EXPECT_EQ(calls.admit({.slot = 0, .token_count = 3}), "");
  EXPECT_EQ(calls.prefill({.slot = 0, .first = 0, .count = 3, .last = true}), "");
  EXPECT_NE(calls.admit({.slot = 1, .token_count = 2, .fork_from = 0}), "");
}

TEST_F(LogCallsTest, Prefills) {
  ASSERT_EQ(admit(0, {1, 2, 3}), "");
  EXPECT_NE(calls_.prefill({.slot = 3, .first = 0, .count = 1}), "");
  EXPECT_NE(calls_.prefill({.slot = 1, .first = 0, .count = 1}), "");
  EXPECT_NE(calls_.prefill({.slot = 0, .first = 1, .count = 1}), "");
  EXPECT_NE(calls_.prefill({.slot = 0, .first = 0, .count = 0}), "");
  EXPECT_NE(calls_.prefill({.slot = 0, .first = 0, .count = 4, .last = true}), "");
  EXPECT_NE(calls_.prefill({.slot = 0, .first = 0, .count = 3, .last = false}), "");
  EXPECT_EQ(calls_.prefill({.slot = 0, .first = 0, .count = 1}), "");
  EXPECT_NE(calls_.prefill({.slot = 0, .first = 1, .count = 1, .last = true}), "");
  EXPECT_EQ(calls_.prefill({.slot = 0, .first = 1, .count = 2, .last = true}), "");
  EXPECT_NE(calls_.prefill({.slot = 0, .first = 3, .count = 1, .last = true}), "");
}

TEST_F(LogCallsTest, Steps) {
  ASSERT_EQ(admit(0, {1, 2, 3}), "");
  EXPECT_NE(calls_.extend(0), "") << "its prompt is not prefilled";
  EXPECT_NE(calls_.extend(1), "");
  EXPECT_NE(calls_.extend(3), "");
  EXPECT_NE(calls_.release(3), "");
  ASSERT_EQ(calls_.prefill({.slot = 0, .first = 0, .count = 3, .last = true}), "");
  EXPECT_NE(step({0}), "") << "not extended";
  EXPECT_NE(step({}), "");
  ASSERT_EQ(calls_.extend(0), "");
  EXPECT_NE(calls_.extend(0), "");
  start(1);
  ASSERT_EQ(calls_.extend(1), "");
  EXPECT_NE(step({1, 0}), "");
  EXPECT_NE(step({0, 0}), "");
  EXPECT_NE(step({0, 3}), "");
  EXPECT_EQ(step({0, 1}), "");
  for (std::uint32_t length = 4; length < 8; ++length) {
    ASSERT_EQ(calls_.extend(0), "");
    ASSERT_EQ(step({0}), "");
  }
  EXPECT_NE(calls_.extend(0), "") << "as long as a history can be";
}

}  // namespace
}  // namespace kvrm
