// The block pager against a naive model of it, by random sequences of all operations.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

#include "property_tests/models/pager_model.h"

namespace rc {

template <>
struct Arbitrary<kvrm::pager_model::Operation> {
  static Gen<kvrm::pager_model::Operation> arbitrary() {
    using kvrm::pager_model::Kind;
    using kvrm::pager_model::Operation;
    const auto kind = gen::weightedElement<Kind>({{2, Kind::open},
                                                  {12, Kind::append},
                                                  {2, Kind::write_now},
                                                  {4, Kind::fork},
                                                  {2, Kind::truncate},
                                                  {4, Kind::trim_front},
                                                  {2, Kind::close},
                                                  {2, Kind::compact},
                                                  {4, Kind::step},
                                                  {4, Kind::complete},
                                                  {1, Kind::use_stale}});
    // Mostly single tokens and small changes, as in decoding.
    const auto amount =
        gen::weightedOneOf<std::uint32_t>({{3, gen::inRange(0U, 3U)}, {2, gen::inRange(0U, 90U)}});
    return gen::build<Operation>(gen::set(&Operation::kind, kind),
                                 gen::set(&Operation::draw, gen::inRange(0U, 1000U)),
                                 gen::set(&Operation::amount, amount));
  }
};

}  // namespace rc

namespace kvrm {
namespace {

using pager_model::Coverage;
using pager_model::Operation;
using pager_model::PagerModel;

class BlockPagerModel : public ::testing::TestWithParam<Placement> {};

TEST_P(BlockPagerModel, EveryOperationEqualsTheNaivePager) {
  Coverage coverage;
  const bool holds = rc::check([&] {
    PagerModel model({.blocks = *rc::gen::element(2U, 7U, 20U, 37U, 64U, 65U, 131U),
                      .block_tokens = *rc::gen::element(1U, 3U, 7U, 16U, 17U),
                      .max_histories = 7,
                      .max_blocks_per_history = *rc::gen::element(3U, 9U),
                      .placement = GetParam(),
                      .counts_generations = *rc::gen::arbitrary<bool>(),
                      .compacts = *rc::gen::element(true, true, false)},
                     coverage);
    model.scramble(
        *rc::gen::container<std::vector<std::uint32_t>>(60, rc::gen::inRange(0U, 1000U)));
    const auto operations = *rc::gen::resize(600, rc::gen::arbitrary<std::vector<Operation>>());
    for (const Operation& operation : operations) model.run(operation);
    model.finish();
  });
  EXPECT_TRUE(holds);
  for (const auto& [name, count] : coverage.counts()) EXPECT_GT(count, 0U) << name;
}

std::string placement_name(Placement placement) {
  return placement == Placement::lifo     ? "lifo"
         : placement == Placement::extent ? "extent"
                                          : "address_ordered";
}

INSTANTIATE_TEST_SUITE_P(Placements, BlockPagerModel,
                         ::testing::Values(Placement::lifo, Placement::address_ordered,
                                           Placement::extent),
                         [](const auto& value) { return placement_name(value.param); });

}  // namespace
}  // namespace kvrm
