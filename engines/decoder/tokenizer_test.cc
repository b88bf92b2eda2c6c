// A tokenizer made up for the purpose: merges, bytes, spaces, and every way in which its file can
// be broken.
#include "engines/decoder/tokenizer.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "engines/decoder/test_models.h"

namespace kvrm {
namespace {

using testing_models::take;

struct Piece {
  std::string text;
  float score = 0;
};

class TokenizerFile : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    path_ = testing::TempDir() + "kvrm_" + test->name() + ".bin";
    pieces_ = {{"<unk>"}, {"<s>"}, {"</s>"}};
    for (int byte = 0; byte < 256; ++byte) pieces_.push_back({fmt::format("<0x{:02X}>", byte)});
    for (const char* character : {" ", "a", "b", "c", "é"}) pieces_.push_back({character, -10});
  }
  void TearDown() override { std::filesystem::remove(path_); }

  TokenId add(const std::string& text, float score) {
    pieces_.push_back({text, score});
    return static_cast<TokenId>(pieces_.size() - 1);
  }
  TokenId token(const std::string& text) const {
    for (TokenId i = 0; i < pieces_.size(); ++i) {
      if (pieces_[i].text == text) return i;
    }
    return kNoToken;
  }
  std::uint32_t vocabulary() const { return static_cast<std::uint32_t>(pieces_.size()); }

  std::string bytes(std::int32_t longest = 8) const {
    std::string out(reinterpret_cast<const char*>(&longest), sizeof(longest));
    for (const Piece& piece : pieces_) {
      const auto length = static_cast<std::int32_t>(piece.text.size());
      out.append(reinterpret_cast<const char*>(&piece.score), sizeof(piece.score));
      out.append(reinterpret_cast<const char*>(&length), sizeof(length));
      out.append(piece.text);
    }
    return out;
  }
  Result<TextCodec> load(const std::string& content) const {
    std::ofstream(path_, std::ios::binary) << content;
    return load_tokenizer(path_, vocabulary());
  }
  std::string error(const std::string& content) const {
    const auto codec = load(content);
    return codec ? "loaded" : codec.error().message.substr(path_.size());
  }

  std::string path_;
  std::vector<Piece> pieces_;
};

TEST_F(TokenizerFile, BestScoreMergesFirstAndTheLeftmostOfEquals) {
  const TokenId ab = add("ab", -2);
  const TokenId bc = add("bc", -1);
  const TokenId aa = add("aa", -3);
  const TokenId space_a = add(" a", -4);
  const TextCodec codec = take(load(bytes()));
  EXPECT_EQ(codec.encode("abc"), (std::vector<TokenId>{1, space_a, bc}));
  EXPECT_EQ(codec.encode("ab"), (std::vector<TokenId>{1, token(" "), ab}));
  EXPECT_EQ(codec.encode("aaa"), (std::vector<TokenId>{1, token(" "), aa, token("a")}));
  EXPECT_EQ(codec.encode(""), (std::vector<TokenId>{1}));
}

TEST_F(TokenizerFile, CharactersWithoutAPieceBecomeTheirBytes) {
  const TextCodec codec = take(load(bytes()));
  EXPECT_EQ(codec.encode("é"), (std::vector<TokenId>{1, token(" "), token("é")}));
  EXPECT_EQ(codec.encode("\n"), (std::vector<TokenId>{1, token(" "), 3 + 10}));
  EXPECT_EQ(codec.encode("ü"), (std::vector<TokenId>{1, token(" "), 3 + 0xc3, 3 + 0xbc}));
  EXPECT_EQ(codec.encode("\xff"), (std::vector<TokenId>{1, token(" "), 3 + 0xff}));
}

TEST_F(TokenizerFile, DecodingGivesTheTextBack) {
  add("ab", -2);
  add(" a", -4);
  const TextCodec codec = take(load(bytes()));
  for (const std::string text : {"a b ab", " a", "été\n", "aübb\t"}) {
    const std::vector<TokenId> tokens = codec.encode(text);
    std::string decoded;
    for (std::size_t i = 1; i < tokens.size(); ++i) {
      decoded += codec.decode(tokens[i - 1], tokens[i]);
    }
    EXPECT_EQ(decoded, text);
  }
  EXPECT_EQ(codec.decode(kBeginOfSequence, token(" a")), "a");
  EXPECT_EQ(codec.decode(0, token(" a")), " a");
  EXPECT_EQ(codec.decode(0, 3 + 0x41), "A");
  EXPECT_EQ(codec.decode(0, vocabulary()), "");
}

TEST_F(TokenizerFile, BrokenFilesAreNamed) {
  const std::string good = bytes();
  EXPECT_EQ(error(good), "loaded");
  EXPECT_EQ(error(""), ": is not a tokenizer");
  EXPECT_EQ(error(bytes(0)), ": is not a tokenizer");
  EXPECT_EQ(error(good.substr(0, good.size() - 1)), ": ends inside token 263 of 264");
  EXPECT_EQ(error(good.substr(0, 10)), ": ends after 0 of 264 tokens");
  EXPECT_EQ(error(good + "x"), ": has more than the model's 264 tokens");
  // The length of token 0, of which nothing like it is there.
  std::string long_token = bytes(INT32_MAX);
  long_token.replace(8, 4, "\xff\xff\xff\x7f");
  EXPECT_EQ(error(long_token), ": ends inside token 0 of 264");
  EXPECT_EQ(error(bytes(4)), ": token 0 is 5 bytes long, the longest should be 4");
  const auto missing = load_tokenizer("/nowhere/tok.bin", 300);
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().message, "/nowhere/tok.bin: no such tokenizer");
  const auto small = load_tokenizer(path_, 100);
  ASSERT_FALSE(small.has_value());
  EXPECT_NE(small.error().message.find("at least 259 tokens"), std::string::npos);
}

}  // namespace
}  // namespace kvrm
