// What a step image must show, from what the world knows and the image's own rules; and KV read
// back from the pool through it.
#include <algorithm>
#include <unordered_map>

#include "harness/base/units.h"
#include "harness/contract/content.h"
#include "property_tests/simulation/instance.h"

namespace kvrm::simulation {
namespace {

// A group that is not the last could take its right neighbour in.
bool could_merge(const KvGroup& left, const KvGroup& right, std::uint32_t cap) {
  return left.physical + left.blocks == right.physical &&
         (cap == 0 || left.blocks + right.blocks <= cap);
}

std::uint32_t cap_of(const EngineSpec& spec, std::uint64_t block_bytes) {
  const std::uint64_t bytes = spec.options.max_group_bytes;
  if (bytes == 0) return 0;
  return static_cast<std::uint32_t>(std::max<std::uint64_t>(bytes / block_bytes, 1));
}

}  // namespace

void Instance::check_image(std::span<const SlotTruth> slots) {
  const ApplyStepArgs& args = *device_->apply_args();
  expect(args.channel->applied == steps_ && args.channel->published == steps_,
         "epochs do not rise by one a step");
  // Work ahead has edited the shadow already.
  if (!prepared_) {
    expect(std::ranges::equal(kvrm_->image(), kvrm_->expected_image()),
           "the step image is not what a full rebuild gives");
  }
  const StepImage image = place_step_image(args.image, args.limits.shape);
  for (SlotIndex slot = 0; slot < args.limits.shape.slots; ++slot) {
    const bool known = slot < slots.size() && slots[slot].active;
    if (known) {
      check_row(image, slot, slots[slot]);
    } else {
      expect(image.rows.length[slot] == 0 && image.rows.write_slot[slot] == kNoWrite &&
                 image.groups[std::size_t{slot} * args.limits.shape.group_stride()].blocks == 0,
             "a padding row reads or writes");
    }
  }
  check_owners(image);
}

void Instance::check_row(const StepImage& image, SlotIndex slot, const SlotTruth& truth) {
  expect(image.rows.position[slot] + 1 == truth.positions, "a row is at another position");
  expect(image.rows.content_key[slot] == truth.content_key, "a row has another history's key");
  if (!spec_.options.far_history.enabled) {
    expect(image.rows.length[slot] == truth.positions, "a row attends another length");
  }
  check_groups(image, slot);
}

// Groups follow each other from logical block 0, cover the length and at most one block more, stay
// in the pool, hold to the cap, and no two neighbours could be one.
void Instance::check_groups(const StepImage& image, SlotIndex slot) {
  const StepLimits& limits = device_->apply_args()->limits;
  const KvGroup* groups = image.groups + std::size_t{slot} * limits.shape.group_stride();
  const std::uint32_t cap = cap_of(spec_, device_->append_args().front()->layout.block_bytes());
  std::uint32_t covered = 0;
  for (std::uint32_t i = 0; i < limits.shape.max_blocks && groups[i].blocks > 0; ++i) {
    expect(groups[i].logical == covered, "groups leave a hole or overlap");
    covered += groups[i].blocks;
    expect(groups[i].physical + groups[i].blocks <= limits.pool_blocks, "a group leaves the pool");
    expect(cap == 0 || groups[i].blocks <= cap, "a group is beyond the cap");
    if (i > 0) expect(!could_merge(groups[i - 1], groups[i], cap), "two groups could be one");
  }
  const std::uint64_t needed = divide_up(image.rows.length[slot], limits.block_tokens);
  expect(covered >= needed && covered <= needed + 1, "groups do not cover the length");
}

// The block that a row writes is in no other row's groups, and in its own where it says.
void Instance::check_owners(const StepImage& image) {
  const StepLimits& limits = device_->apply_args()->limits;
  const StepImageShape& shape = limits.shape;
  for (SlotIndex writer = 0; writer < shape.slots; ++writer) {
    if (image.rows.length[writer] == 0) continue;
    const std::uint64_t block = image.rows.write_slot[writer] / limits.block_tokens;
    expect(image.rows.write_slot[writer] % limits.block_tokens ==
               (image.rows.length[writer] - 1) % limits.block_tokens,
           "a row writes at another place of its block");
    for (SlotIndex reader = 0; reader < shape.slots; ++reader) {
      const KvGroup* group = image.groups + std::size_t{reader} * shape.group_stride();
      bool found = false;
      for (std::uint32_t i = 0; i < shape.max_blocks && group[i].blocks > 0; ++i) {
        found |= block - group[i].physical < group[i].blocks;
      }
      expect(found == (reader == writer), "a block that is written has not one owner");
    }
  }
}

void Instance::read_back(SlotIndex slot, const SlotTruth& truth, const ModelShape& shape) {
  if (kvrm_ == nullptr || spec_.options.far_history.enabled) return;
  const StepLimits& limits = device_->apply_args()->limits;
  const StepImage image = place_step_image(device_->apply_args()->image, limits.shape);
  const KvGroup* group = image.groups + std::size_t{slot} * limits.shape.group_stride();
  const std::uint32_t layer = truth.positions % shape.layers;
  const AppendKvArgs& append = *device_->append_args()[layer];
  const std::uint32_t head = truth.positions / 2 % shape.kv_heads;
  for (std::uint32_t position = 0; position < truth.positions; ++position) {
    const std::uint32_t logical = position / limits.block_tokens;
    while (logical >= group->logical + group->blocks && group->blocks > 0) ++group;
    const std::uint64_t block = group->physical + (logical - group->logical);
    const std::byte* bytes = append.pool + block * append.layout.block_bytes();
    const std::uint64_t key =
        content_key_at(truth.content_key, truth.prefix_key, truth.prefix_tokens, position);
    const std::uint32_t token = position % limits.block_tokens;
    for (std::uint32_t dim = 0; dim < shape.head_dim; dim += 3) {
      expect(load_key(append.layout, bytes, head, token, dim) ==
                     content_value(key, ContentPart::key, layer, position, head, dim) &&
                 load_value(append.layout, bytes, head, token, dim) ==
                     content_value(key, ContentPart::value, layer, position, head, dim),
             "the pool does not hold a history's content");
    }
  }
}

}  // namespace kvrm::simulation
