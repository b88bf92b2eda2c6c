#include "harness/contract/request.h"

#include "harness/base/hash.h"

namespace kvrm {

std::uint64_t fold_request(std::uint64_t digest, const Request& request) {
  digest = hash_combine(digest, request.id);
  digest = hash_combine(digest, static_cast<std::uint64_t>(request.arrival));
  digest =
      hash_combine(digest, (std::uint64_t{request.prompt_tokens} << 32) | request.output_tokens);
  digest = hash_combine(digest, request.content_key);
  if (request.prefix_tokens > 0) {
    digest = hash_combine(hash_combine(digest, request.prefix_key), request.prefix_tokens);
  }
  digest = hash_combine(digest, request.stop_token);
  for (const TokenId token : request.prompt) digest = hash_combine(digest, token);
  return digest;
}

}  // namespace kvrm
