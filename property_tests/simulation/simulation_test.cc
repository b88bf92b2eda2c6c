// The simulator itself: the same state from the same seed, whatever the threads; every fault and
// every rare state met; and devices that are broken on purpose are found, and made small.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "engines/descriptor/descriptor_builder.h"
#include "property_tests/commands/program.h"
#include "property_tests/models/step_image_case.h"
#include "property_tests/simulation/record_attack.h"
#include "property_tests/simulation/swarm.h"

namespace kvrm::simulation {
namespace {

using ::testing::HasSubstr;

void ignore_world(const WorldPart&) {}

TEST(Simulation, EverySeedEndsInTheSameStateTwice) {
  const Registry registry = make_registry();
  std::vector<std::uint64_t> hashes;
  for (const std::uint64_t seed : {0U, 1U}) {
    const SwarmOptions one{.seed = seed, .threads = 1};
    SwarmOptions two = one;
    two.threads = 2;
    const SwarmResult first = run_swarm(one, registry, ignore_world);
    const SwarmResult second = run_swarm(two, registry, ignore_world);
    ASSERT_FALSE(first.first) << first.first->violation << ": " << first.first->part.arguments();
    EXPECT_EQ(first.state_hash, second.state_hash);
    EXPECT_EQ(first.totals.steps, second.totals.steps);
    EXPECT_EQ(first.totals.faults, second.totals.faults);
    hashes.push_back(first.state_hash);
  }
  EXPECT_NE(hashes[0], hashes[1]);
}

TEST(Simulation, MeetsEveryFaultAndEveryRareState) {
  const SwarmResult result =
      run_swarm({.seed = 11, .worlds = 40, .threads = 2}, make_registry(), ignore_world);
  ASSERT_FALSE(result.first) << result.first->violation << ": " << result.first->part.arguments();
  for (std::size_t i = 0; i < kFaults; ++i)
    EXPECT_GT(result.totals.faults[i], 10U) << kFaultNames[i];
  EXPECT_GT(result.totals.preemptions, 50U);
  EXPECT_GT(result.totals.recomputed, 100U);
  EXPECT_GT(result.totals.forks, 50U);
  EXPECT_GT(result.totals.copy_on_writes, 50U);
  EXPECT_GT(result.totals.compacted_blocks, 100U);
  EXPECT_GT(result.totals.full_commits, 5U);
  EXPECT_GT(result.totals.far_merges, 100U);
  EXPECT_GT(result.totals.oracle_rows, 100U);
  EXPECT_GT(result.totals.read_backs, 500U);
}

TEST(Simulation, DrawsEveryEngineAndEveryFeature) {
  std::set<std::string> labels;
  std::set<std::uint32_t> blocks;
  std::uint64_t far = 0;
  std::uint64_t decoders = 0;
  std::uint64_t crowded = 0;
  for (std::uint64_t index = 0; index < 200; ++index) {
    const WorldSpec world = draw_world(swarm_world({.seed = 5}, index));
    for (const EngineSpec& engine : world.engines) {
      labels.insert(engine.label);
      blocks.insert(engine.options.block_tokens);
    }
    far += world.far_history.enabled ? 1 : 0;
    crowded += world.crowded ? 1 : 0;
    decoders += world.model.shape.kind == ModelKind::decoder ? 1 : 0;
  }
  EXPECT_EQ(labels.size(), 7U);
  EXPECT_EQ(blocks.size(), 6U);
  EXPECT_GT(far, 10U);
  EXPECT_GT(decoders, 5U);
  EXPECT_GT(crowded, 5U);
}

// A record that may be applied is accepted, which an attack must call a violation: so the check
// behind every refused record can fail.
TEST(RecordAttack, SaysSoWhenARecordIsAccepted) {
  const StepLimits limits = models::small_limits(4096, 0);
  models::AlignedBytes image(step_image_bytes(limits.shape));
  models::AlignedBytes record(record_capacity(limits));
  clear_step_image(image.data(), limits.shape);
  CommitChannel channel;
  channel.records[0] = channel.records[1] = record.data();
  DescriptorBuilder builder(limits);
  builder.edit_slot(inactive_slot(0));
  builder.commit(channel);
  const ApplyStepArgs args{.channel = &channel, .image = image.data(), .limits = limits};
  RandomStream random(1, "attack");
  for (const Fault fault : {Fault::record_flipped, Fault::record_torn}) {
    const AttackResult refused = attack_image(args, fault, random);
    EXPECT_TRUE(refused.made);
    EXPECT_EQ(refused.violation, "") << fault_name(fault);
  }
  const AttackResult accepted = attack_image(args, Fault::record_twice, random);
  EXPECT_TRUE(accepted.made);
  EXPECT_THAT(accepted.violation, HasSubstr("was accepted"));
}

std::vector<std::string> words_after(const std::string& text, const std::string& mark) {
  std::istringstream line(text.substr(text.rfind(mark) + mark.size()));
  std::string first;
  std::getline(line, first);
  std::istringstream words(first);
  std::vector<std::string> result;
  for (std::string word; words >> word;) result.push_back(word);
  return result;
}

class Canaries : public ::testing::TestWithParam<const char*> {};

TEST_P(Canaries, AreFoundAndShrinkToAHandfulOfCommands) {
  const std::string program = KVRM_SIM_PROGRAM;
  const ProgramResult found =
      run_program({program, {"--seed", "3", "--threads", "1", "--canary", GetParam()}});
  ASSERT_EQ(found.exit_code, 5) << found.err;
  EXPECT_THAT(found.out, HasSubstr("\"violations\":1"));
  const auto shrunk = words_after(found.err, "shrunk to ");
  ASSERT_FALSE(shrunk.empty()) << found.err;
  EXPECT_LE(std::stoul(shrunk.front()), 12U) << found.err;
  std::vector<std::string> arguments = words_after(found.err, "reproduce: kvrm_sim ");
  EXPECT_EQ(run_program({program, arguments}).exit_code, 5);
  arguments.resize(arguments.size() - 2);  // the canary
  EXPECT_EQ(run_program({program, arguments}).exit_code, 0);
}

INSTANTIATE_TEST_SUITE_P(Devices, Canaries, ::testing::Values("lost_copy", "image_bit"),
                         [](const auto& value) { return std::string(value.param); });

TEST(SimulatorProgram, RefusesWhatItDoesNotKnow) {
  const ProgramResult result =
      run_program({KVRM_SIM_PROGRAM, {"--world", "1", "--without", "gravity"}});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("gravity"));
}

}  // namespace
}  // namespace kvrm::simulation
