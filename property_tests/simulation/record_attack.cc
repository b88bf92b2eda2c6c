#include "property_tests/simulation/record_attack.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "engines/descriptor/record_view.h"

namespace kvrm::simulation {
namespace {

// A channel of the attacker's, as the engine's own stands, with the record that it would deliver.
struct Delivery {
  CommitChannel channel;
  std::vector<std::uint64_t> record;  // [record_capacity / 8]
  std::size_t bytes = 0;              // of the record that the engine published

  std::byte* data() { return reinterpret_cast<std::byte*>(record.data()); }
};

Delivery copy_delivery(const ApplyStepArgs& real) {
  Delivery delivery;
  delivery.channel = *real.channel;
  const std::byte* published = real.channel->records[real.channel->published % 2];
  delivery.bytes = record_bytes(record_header(published));
  // What lies behind a record is what was there before.
  delivery.record.assign(record_capacity(real.limits) / 8, ~std::uint64_t{0});
  std::memcpy(delivery.data(), published, delivery.bytes);
  return delivery;
}

bool flip(Delivery& delivery, RandomStream& random) {
  const std::uint64_t bit = random.below(8 * delivery.bytes);
  delivery.record[bit / 64] ^= std::uint64_t{1} << (bit % 64);
  return true;
}

// The first words are new, the others still those of what the buffer held before.
bool tear(Delivery& delivery, RandomStream& random) {
  const std::uint64_t arrived = random.below(delivery.bytes / 8);
  const std::uint64_t before = random.below(2) == 0 ? 0 : ~std::uint64_t{0};
  bool torn = false;
  for (std::size_t i = arrived; i < delivery.bytes / 8; ++i) {
    torn |= delivery.record[i] != before;
    delivery.record[i] = before;
  }
  return torn;
}

// The buffer of the step before still holds that step's record.
bool replace_by_last(Delivery& delivery, const ApplyStepArgs& real) {
  const std::byte* last = real.channel->records[(real.channel->published + 1) % 2];
  if (real.channel->published < 2) return false;
  std::memcpy(delivery.data(), last, record_bytes(record_header(last)));
  return true;
}

bool prepare(Delivery& delivery, const ApplyStepArgs& real, Fault fault, RandomStream& random) {
  CommitChannel& channel = delivery.channel;
  switch (fault) {
    case Fault::record_flipped:
      return flip(delivery, random);
    case Fault::record_torn:
      return tear(delivery, random);
    case Fault::record_lost:
      channel.published = channel.applied;
      return channel.applied > 0 && replace_by_last(delivery, real);
    case Fault::record_stale:
      return replace_by_last(delivery, real);
    case Fault::record_reordered:
      if (channel.applied == 0) return false;
      --channel.applied;
      return true;
    case Fault::record_twice:
      return true;
    default:
      return false;
  }
}

}  // namespace

AttackResult attack_image(const ApplyStepArgs& real, Fault fault, RandomStream& random) {
  Delivery delivery = copy_delivery(real);
  if (!prepare(delivery, real, fault, random)) return {};
  const Epoch applied = delivery.channel.applied;
  delivery.channel.records[0] = delivery.channel.records[1] = delivery.data();
  const std::span image(real.image, step_image_bytes(real.limits.shape));
  const std::vector<std::byte> before(image.begin(), image.end());
  ApplyStepArgs args = real;
  args.channel = &delivery.channel;
  WorkerContext worker;
  apply_step_kernel().host(&args, 0, worker);
  AttackResult result{.made = true, .violation = {}};
  if (delivery.channel.status == ApplyStatus::ok) {
    result.violation = "a damaged or misplaced record was accepted";
  } else if (delivery.channel.applied != applied) {
    result.violation = "a refused record moved the epoch";
  } else if (!std::ranges::equal(image, before)) {
    result.violation = "a refused record changed the step image";
  }
  return result;
}

}  // namespace kvrm::simulation
