// What observing costs, in what can be counted: how often the driver reads the clock. A step costs
// the same few readings whatever its batch, a token none, and what may be observed beside the event
// log (progress, kept tokens, every finished output) at most one a turn.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "harness/driver/counting_clock.h"
#include "harness/driver/fake_engine.h"

namespace kvrm {
namespace {

struct Cost {
  std::uint64_t readings = 0;
  std::uint64_t steps = 0;
  std::uint64_t chunks = 0;
  std::uint64_t tokens = 0;
};

// Requests of equal lengths that all come at once: one step for each token but the first.
Cost cost_of(std::uint32_t batch, bool observed) {
  constexpr std::uint32_t kTokens = 100;
  FakeScript script;
  script.info.slots = batch;
  std::vector<Request> requests;
  for (RequestId id = 0; id < batch; ++id) requests.push_back(fake_request(id, 0, 1, kTokens));
  DriveOptions options = fake_options(script);
  options.budget.prefill_tokens = 1000;
  std::uint64_t seen = 0;
  if (observed) {
    options.keep_output_tokens = true;
    options.progress = [&](const DriveProgress&) { ++seen; };
    options.on_finished = [&](const RequestRecord&, const OutputSample&) { ++seen; };
  }
  CountingClock clock;
  FakeEngine engine(script);
  ListStream stream(requests);
  const Result<EventLog> log = drive(engine, stream, {}, options, clock);
  EXPECT_TRUE(log.has_value());
  EXPECT_EQ(seen > 0, observed);
  Cost cost{.readings = clock.readings(), .steps = log->steps.size()};
  for (const char call : engine.calls()) cost.chunks += call == 'p' ? 1 : 0;
  for (const RequestRecord& record : log->requests) cost.tokens += record.output_tokens;
  EXPECT_EQ(cost.steps, kTokens - 1);
  EXPECT_EQ(cost.tokens, std::uint64_t{batch} * kTokens);
  return cost;
}

TEST(ObserverCost, AStepIsReadFourTimesWhateverItsBatch) {
  for (const std::uint32_t batch : {1U, 7U, 64U, 256U}) {
    const Cost cost = cost_of(batch, false);
    const std::uint64_t turns = cost.steps + 1;  // the last one finds that there is nothing left
    // The origin; a look for arrivals a turn and one for each arrival; an admission; both ends of a
    // chunk; a step's begin, the end of the host's work and its end.
    EXPECT_EQ(cost.readings, 1 + turns + batch + batch + 2 * cost.chunks + 3 * cost.steps) << batch;
  }
}

TEST(ObserverCost, WatchingEverythingReadsOnceMoreATurn) {
  for (const std::uint32_t batch : {1U, 64U}) {
    const Cost off = cost_of(batch, false);
    const Cost on = cost_of(batch, true);
    EXPECT_EQ(on.readings, off.readings + off.steps) << batch;
  }
}

}  // namespace
}  // namespace kvrm
