#include "engines/decoder/tokenizer.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

namespace kvrm {
namespace {

// Pieces 3 to 258 are the single bytes, after <unk>, <s> and </s>.
constexpr TokenId kFirstByteToken = 3;
constexpr std::uint32_t kSmallestVocabulary = kFirstByteToken + 256;
constexpr std::size_t kLongestCharacter = 4;

tl::unexpected<Error> bad_file(const std::string& file, std::string_view what) {
  return bad_input(fmt::format("{}: {}", file, what));
}

template <class T>
bool read_value(std::ifstream& in, T& value) {
  return static_cast<bool>(in.read(reinterpret_cast<char*>(&value), sizeof(value)));
}

bool continues_character(char byte) { return (static_cast<unsigned char>(byte) & 0xc0U) == 0x80U; }

// The UTF-8 character at the start of `text`, or what is there of one.
std::string_view first_character(std::string_view text) {
  std::size_t bytes = 1;
  while (bytes < text.size() && bytes < kLongestCharacter && continues_character(text[bytes])) {
    ++bytes;
  }
  return text.substr(0, bytes);
}

// "<0x0A>" names the byte 0x0A.
bool parse_byte_piece(const std::string& piece, char& byte) {
  constexpr std::size_t kPieceBytes = 6;
  if (piece.size() != kPieceBytes || !piece.starts_with("<0x") || piece.back() != '>') return false;
  std::uint8_t value = 0;
  const char* last = piece.data() + kPieceBytes - 1;
  const auto [end, error] = std::from_chars(piece.data() + 3, last, value, 16);
  if (error != std::errc() || end != last) return false;
  byte = static_cast<char>(value);
  return true;
}

}  // namespace

Result<Tokenizer> Tokenizer::load(const std::string& file, std::uint32_t vocabulary) {
  std::ifstream in(file, std::ios::binary);
  if (!std::filesystem::is_regular_file(file) || !in) return bad_file(file, "no such tokenizer");
  if (vocabulary < kSmallestVocabulary) {
    return bad_file(file, fmt::format("a tokenizer has at least {} tokens, the model's vocabulary "
                                      "is {}",
                                      kSmallestVocabulary, vocabulary));
  }
  std::int32_t longest = 0;
  if (!read_value(in, longest) || longest < 1) return bad_file(file, "is not a tokenizer");
  std::uint64_t left = std::filesystem::file_size(file) - sizeof(longest);
  Tokenizer tokenizer;
  for (TokenId token = 0; token < vocabulary; ++token) {
    Piece piece;
    std::int32_t bytes = 0;
    if (!read_value(in, piece.score) || !read_value(in, bytes)) {
      return bad_file(file, fmt::format("ends after {} of {} tokens", token, vocabulary));
    }
    if (bytes < 0 || bytes > longest) {
      return bad_file(file, fmt::format("token {} is {} bytes long, the longest should be {}",
                                        token, bytes, longest));
    }
    left -= std::min<std::uint64_t>(left, sizeof(piece.score) + sizeof(bytes));
    const auto wanted = static_cast<std::size_t>(bytes);
    // Before memory is taken for it: a damaged length may be two gigabytes.
    if (wanted <= left) piece.text.resize(wanted);
    if (wanted > left || !in.read(piece.text.data(), bytes)) {
      return bad_file(file, fmt::format("ends inside token {} of {}", token, vocabulary));
    }
    left -= wanted;
    tokenizer.index_.emplace(piece.text, token);
    tokenizer.pieces_.push_back(std::move(piece));
  }
  if (in.peek() != std::ifstream::traits_type::eof()) {
    return bad_file(file, fmt::format("has more than the model's {} tokens", vocabulary));
  }
  return tokenizer;
}

TokenId Tokenizer::find(const std::string& text) const {
  const auto found = index_.find(text);
  return found == index_.end() ? kNoToken : found->second;
}

void Tokenizer::append_character(std::string_view character, std::vector<TokenId>& tokens) const {
  const TokenId whole = find(std::string(character));
  if (whole != kNoToken) {
    tokens.push_back(whole);
    return;
  }
  for (const char byte : character) {
    tokens.push_back(kFirstByteToken + static_cast<unsigned char>(byte));
  }
}

Tokenizer::Merge Tokenizer::best_merge(const std::vector<TokenId>& tokens) const {
  Merge best;
  for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
    const TokenId merged = find(pieces_[tokens[i]].text + pieces_[tokens[i + 1]].text);
    if (merged == kNoToken) continue;
    if (best.token == kNoToken || pieces_[merged].score > best.score) {
      best = {i, merged, pieces_[merged].score};
    }
  }
  return best;
}

std::vector<TokenId> Tokenizer::encode(std::string_view text) const {
  std::vector<TokenId> tokens = {kBeginOfSequence};
  if (text.empty()) return tokens;
  std::vector<TokenId> pieces;
  append_character(" ", pieces);
  while (!text.empty()) {
    const std::string_view character = first_character(text);
    append_character(character, pieces);
    text.remove_prefix(character.size());
  }
  for (Merge merge = best_merge(pieces); merge.token != kNoToken; merge = best_merge(pieces)) {
    pieces[merge.place] = merge.token;
    pieces.erase(pieces.begin() + static_cast<std::ptrdiff_t>(merge.place) + 1);
  }
  tokens.insert(tokens.end(), pieces.begin(), pieces.end());
  return tokens;
}

std::string Tokenizer::decode(TokenId previous, TokenId token) const {
  if (token >= pieces_.size()) return {};
  const std::string& piece = pieces_[token].text;
  char byte = 0;
  if (parse_byte_piece(piece, byte)) return {byte};
  const bool drops_space = previous == kBeginOfSequence && piece.starts_with(' ');
  return drops_space ? piece.substr(1) : piece;
}

Result<TextCodec> load_tokenizer(const std::string& file, std::uint32_t vocabulary) {
  return Tokenizer::load(file, vocabulary).map([](const Tokenizer& tokenizer) {
    TextCodec codec;
    codec.encode = [tokenizer](const std::string& text) { return tokenizer.encode(text); };
    codec.decode = [tokenizer](TokenId previous, TokenId token) {
      return tokenizer.decode(previous, token);
    };
    return codec;
  });
}

}  // namespace kvrm
