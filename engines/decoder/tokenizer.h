// The llama2.c tokenizer: its file format, its greedy byte-pair encoding, and decoding. Text in,
// tokens out; it knows no model.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "harness/base/ids.h"
#include "harness/base/result.h"
#include "harness/driver/registry.h"

namespace kvrm {

inline constexpr TokenId kBeginOfSequence = 1;

class Tokenizer {
 public:
  // The file has no vocabulary size, so the model's must be given; a file of another size is an
  // error. Each error names the file.
  static Result<Tokenizer> load(const std::string& file, std::uint32_t vocabulary);

  // BOS, a space before the first word, then the pieces: characters, bytes where a character has no
  // piece, merged pair by pair, the best score first and the leftmost of equals.
  std::vector<TokenId> encode(std::string_view text) const;
  // The token's bytes. After BOS the space that encode() put in is dropped.
  std::string decode(TokenId previous, TokenId token) const;

 private:
  struct Piece {
    std::string text;
    float score = 0;
  };
  struct Merge {
    std::size_t place = 0;  // of the left token
    TokenId token = kNoToken;
    float score = 0;
  };

  Tokenizer() = default;
  TokenId find(const std::string& text) const;  // kNoToken: no such piece
  void append_character(std::string_view character, std::vector<TokenId>& tokens) const;
  Merge best_merge(const std::vector<TokenId>& tokens) const;

  std::vector<Piece> pieces_;
  std::unordered_map<std::string, TokenId> index_;  // the first of equal pieces
};

// A tokenizer as the registry wants it (Registry::load_tokenizer).
Result<TextCodec> load_tokenizer(const std::string& file, std::uint32_t vocabulary);

}  // namespace kvrm
