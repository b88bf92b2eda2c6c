#include "harness/driver/solo_run.h"

#include <algorithm>
#include <array>

#include "harness/base/check.h"
#include "harness/base/hash.h"
#include "harness/driver/live_request.h"

namespace kvrm {
namespace {

class Solo {
 public:
  Solo(Engine& engine, const Request& request, const ModelShape& shape, std::uint32_t capture)
      : engine_(engine),
        request_(request),
        decoder_(shape.kind == ModelKind::decoder),
        capture_(capture) {
    if (decoder_) write_prompt(request, shape.vocabulary, history_);
    run_.chain = kDigestSeed;
  }

  SoloRun run(std::uint32_t prefill_tokens) {
    prefill(prefill_tokens);
    for (Epoch step = 1; !done_; ++step) decode(step);
    engine_.release(0);
    return std::move(run_);
  }

 private:
  void prefill(std::uint32_t prefill_tokens) {
    const std::uint32_t total = request_.prompt_tokens;
    const bool admitted = engine_.admit({.slot = 0,
                                         .request = request_.id,
                                         .content_key = request_.content_key,
                                         .token_count = total,
                                         .tokens = history_,
                                         .prefix_key = request_.prefix_key,
                                         .prefix_tokens = request_.prefix_tokens});
    KVRM_CHECK(admitted);
    for (std::uint32_t first = 0; first < total;) {
      const std::uint32_t count = std::min(prefill_tokens, total - first);
      const bool last = first + count == total;
      const StepResult result =
          engine_.prefill({.slot = 0, .first = first, .count = count, .last = last});
      if (last) take(result);
      first += count;
    }
  }

  void decode(Epoch step) {
    constexpr std::array<SlotIndex, 1> kOnlySlot = {0};
    const bool extended = engine_.extend(0);
    KVRM_CHECK(extended);
    engine_.submit({.step = step, .slots = kOnlySlot});
    take(engine_.collect());
  }

  void take(const StepResult& result) {
    KVRM_CHECK_EQ(result.rows.size(), 1U);
    const RowResult& row = result.rows[0];
    const auto index = static_cast<std::uint32_t>(run_.digests.size());
    const std::uint64_t digest = decoder_ ? row.token : row.output_digest;
    run_.digests.push_back(digest);
    run_.chain = hash_combine(run_.chain, digest);
    done_ = index + 1 == request_.output_tokens || (decoder_ && row.token == request_.stop_token);
    if (index == capture_ || (done_ && index < capture_)) {
      run_.captured = {.request = request_.id,
                       .history_tokens = request_.prompt_tokens + index,
                       .history = history_,
                       .token = row.token,
                       .output = {row.output.begin(), row.output.end()}};
    }
    if (decoder_) history_.push_back(row.token);
  }

  Engine& engine_;
  const Request& request_;
  bool decoder_;
  std::uint32_t capture_;
  std::vector<TokenId> history_;
  SoloRun run_;
  bool done_ = false;
};

}  // namespace

SoloRun run_alone(Engine& engine, const Request& request, const ModelShape& shape,
                  std::uint32_t prefill_tokens, std::uint32_t capture) {
  return Solo(engine, request, shape, capture).run(prefill_tokens);
}

}  // namespace kvrm
