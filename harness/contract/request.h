// A request as the workload makes it, and the pull interface by which the driver gets requests one
// by one.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "harness/base/ids.h"
#include "harness/base/result.h"
#include "harness/base/units.h"

namespace kvrm {

struct Request {
  RequestId id = 0;
  Nanoseconds arrival = 0;          // intended, from the start of the workload; 0 in a closed loop
  std::uint32_t prompt_tokens = 0;  // at least 1
  std::uint32_t output_tokens = 0;  // budget, at least 1
  std::uint64_t content_key = 0;    // names the content (content.h)
  std::uint64_t prefix_key = 0;     // names the content of the first prefix_tokens positions
  std::uint32_t prefix_tokens = 0;  // below prompt_tokens; 0: the content is all its own
  std::vector<TokenId> prompt;      // explicit prompt; empty: content_token(content_key, i)
  TokenId stop_token = kNoToken;    // ends the output when sampled, as its last token
};

// How requests enter: on their arrival times, or `concurrency` at a time, the next when one ends.
struct LoopMode {
  bool closed = false;
  std::uint32_t concurrency = 0;  // closed only
};

// Requests in order of arrival, ids ascending from 0. A stream can be made again from its
// specification and is then the same to the byte.
class RequestStream {
 public:
  virtual ~RequestStream() = default;
  // The next request, none at the end, or the one error that a broken trace row is.
  Result<std::optional<Request>> next() { return do_next(); }

 private:
  virtual Result<std::optional<Request>> do_next() = 0;
};

// Folds everything that defines a request into a running workload digest.
std::uint64_t fold_request(std::uint64_t digest, const Request& request);

}  // namespace kvrm
