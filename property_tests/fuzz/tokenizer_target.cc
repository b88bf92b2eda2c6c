#include <fmt/format.h>

#include "engines/decoder/tokenizer.h"
#include "harness/base/check.h"
#include "property_tests/fuzz/fuzz_input.h"

namespace kvrm {
namespace {

constexpr std::uint32_t kSpecialAndBytes = 259;  // <unk>, <s>, </s> and the single bytes

void append_piece(std::string& file, std::string_view text, float score) {
  const auto bytes = static_cast<std::int32_t>(text.size());
  file.append(reinterpret_cast<const char*>(&score), sizeof(score));
  file.append(reinterpret_cast<const char*>(&bytes), sizeof(bytes));
  file += text;
}

// A file's longest length, its first pieces as every llama2.c tokenizer has them, and a space.
std::string usual_start() {
  const std::int32_t longest = 12;
  std::string file(reinterpret_cast<const char*>(&longest), sizeof(longest));
  for (const char* special : {"<unk>", "<s>", "</s>"}) append_piece(file, special, 0);
  for (int byte = 0; byte < 256; ++byte) append_piece(file, fmt::format("<0x{:02X}>", byte), 0);
  append_piece(file, " ", -1);
  return file;
}

std::string decode_all(const Tokenizer& tokenizer, const std::vector<TokenId>& tokens) {
  std::string text;
  for (std::size_t i = 1; i < tokens.size(); ++i) {
    text += tokenizer.decode(tokens[i - 1], tokens[i]);
  }
  return text;
}

}  // namespace

FuzzOutcome fuzz_tokenizer(FuzzBytes input) {
  FuzzReader reader(input);
  const bool usual = reader.take<std::uint8_t>() % 4 != 0;
  const std::uint32_t more = reader.take<std::uint8_t>();
  const std::string text(as_text(reader.take_bytes(reader.take<std::uint8_t>())));
  const std::string_view rest = as_text(reader.rest());
  const std::uint32_t vocabulary = kSpecialAndBytes - 1 + (usual ? 2 : 0) + more;
  const MemoryFile file(usual ? usual_start().append(rest) : std::string(rest));
  const Result<Tokenizer> tokenizer = Tokenizer::load(file.path(), vocabulary);
  if (!tokenizer) {
    check_error_place(tokenizer.error(), file.path());
    return FuzzOutcome::refused;
  }
  const std::vector<TokenId> tokens = tokenizer->encode(text);
  KVRM_CHECK_EQ(tokens.front(), kBeginOfSequence);
  KVRM_CHECK_LE(tokens.size(), text.size() + 2);
  for (const TokenId token : tokens) KVRM_CHECK_LT(token, vocabulary);
  const std::string back = decode_all(*tokenizer, tokens);
  // A piece that looks like the name of a byte means that byte, in llama2.c as here.
  if (usual && rest.find("<0x") == std::string_view::npos) KVRM_CHECK_EQ(back, text);
  KVRM_CHECK(tokenizer->decode(0, vocabulary).empty());
  return FuzzOutcome::accepted;
}

}  // namespace kvrm
