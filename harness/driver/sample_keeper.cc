#include "harness/driver/sample_keeper.h"

#include <algorithm>
#include <limits>

#include "harness/base/prng.h"

namespace kvrm {

OutputSample make_sample(const SampleOffer& offer) {
  return {.request = offer.request,
          .history_tokens = offer.history_tokens,
          .history = {offer.history.begin(), offer.history.end()},
          .token = offer.token,
          .output = {offer.output.begin(), offer.output.end()}};
}

SampleKeeper::SampleKeeper(const SampleSpec& spec)
    : seed_(spec.seed),
      longest_{spec.longest, {}},
      preempted_{spec.preempted, {}},
      random_{spec.random, {}} {}

void SampleKeeper::Group::offer(std::uint64_t key, const SampleOffer& offer) {
  if (capacity == 0 || (kept.size() == capacity && key >= kept.back().first)) return;
  if (kept.size() == capacity) kept.pop_back();
  const auto place = std::upper_bound(kept.begin(), kept.end(), key,
                                      [](std::uint64_t k, const auto& e) { return k < e.first; });
  kept.emplace(place, key, make_sample(offer));
}

void SampleKeeper::offer(const SampleOffer& offer) {
  // Ties among equally long requests go to the lower id.
  const std::uint64_t shortness =
      std::numeric_limits<std::uint32_t>::max() - std::uint64_t{offer.history_tokens};
  longest_.offer((shortness << 32) | (offer.request & 0xffffffffU), offer);
  random_.offer(mix64(seed_ ^ mix64(offer.request)), offer);
  if (offer.preempted) preempted_.offer(offer.request, offer);
}

std::vector<OutputSample> SampleKeeper::take() {
  std::vector<OutputSample> samples;
  for (Group* group : {&longest_, &preempted_, &random_}) {
    for (auto& [key, sample] : group->kept) samples.push_back(std::move(sample));
    group->kept.clear();
  }
  std::sort(samples.begin(), samples.end(),
            [](const auto& a, const auto& b) { return a.request < b.request; });
  samples.erase(std::unique(samples.begin(), samples.end(),
                            [](const auto& a, const auto& b) { return a.request == b.request; }),
                samples.end());
  return samples;
}

}  // namespace kvrm
