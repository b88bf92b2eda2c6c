#include "workloads/generators/open_workload.h"

#include <cmath>
#include <utility>

#include "harness/base/hash.h"
#include "harness/base/prng.h"
#include "workloads/generators/arrivals.h"
#include "workloads/generators/lengths.h"
#include "workloads/traces/trace_reader.h"

namespace kvrm {
namespace {

bool uses_trace(const WorkloadSpec& spec) {
  return spec.arrivals.kind == ArrivalSpec::Kind::trace ||
         spec.prompt_tokens.kind == LengthSpec::Kind::trace ||
         spec.output_tokens.kind == LengthSpec::Kind::trace;
}

// Independent of the other streams, and different for every request of every seed.
std::uint64_t content_key_of(std::uint64_t seed, RequestId id) {
  return mix64(hash_combine(mix64(seed ^ hash_text("content")), id));
}

// Sample `index` of the prompt of request `first`: the whole prompt, then one token of its own,
// without which a greedy decoder would give every sample the same output.
void share_prompt(const Request& first, std::uint32_t index, Request& sample) {
  sample.prefix_key = first.content_key;
  sample.prefix_tokens = first.prompt_tokens;
  sample.prompt_tokens = first.prompt_tokens + 1;
  sample.content_key = mix64(hash_combine(first.content_key, index));
}

class WorkloadStream final : public RequestStream {
 public:
  WorkloadStream(const WorkloadSpec& spec, std::unique_ptr<TraceReader> trace)
      : spec_(spec),
        prompt_tokens_(spec.prompt_tokens, RandomStream(spec.seed, "prompt_tokens")),
        output_tokens_(spec.output_tokens, RandomStream(spec.seed, "output_tokens")),
        trace_(std::move(trace)) {
    if (spec.arrivals.kind != ArrivalSpec::Kind::trace) {
      arrivals_ = make_arrivals(spec.arrivals, RandomStream(spec.seed, "arrivals"));
    }
  }

 private:
  Result<std::optional<Request>> do_next() override {
    if (spec_.requests != 0 && next_id_ == spec_.requests) return std::optional<Request>();
    if (samples_left_ == 0) {
      const Result<bool> drawn = draw_first();
      if (!drawn) return tl::unexpected<Error>(drawn.error());
      if (!*drawn) return std::optional<Request>();
      samples_left_ = spec_.samples;
    }
    Request request = first_;
    request.id = next_id_++;
    request.output_tokens = output_tokens_.next(row_.output_tokens);
    const std::uint32_t sample = spec_.samples - samples_left_--;
    if (sample > 0) share_prompt(first_, sample, request);
    return std::optional<Request>(std::move(request));
  }

  // The request that samples are made from, but for its id and output. False: there are no more.
  Result<bool> draw_first() {
    if (trace_) {
      Result<std::optional<TraceRow>> next_row = trace_->next();
      if (!next_row) return tl::unexpected<Error>(next_row.error());
      if (!*next_row) return false;
      row_ = std::move(**next_row);
    }
    const std::optional<Nanoseconds> arrival = arrivals_ ? arrivals_->next() : row_arrival(row_);
    if (!arrival) return false;
    first_.arrival = *arrival;
    first_.prompt_tokens = prompt_tokens_.next(row_.prompt_tokens);
    first_.content_key = content_key_of(spec_.seed, next_id_);
    return true;
  }

  // Since the first row, which starts the workload.
  Nanoseconds row_arrival(const TraceRow& row) {
    if (next_id_ == 0) first_row_arrival_ = row.arrival;
    const auto since_first = static_cast<double>(row.arrival - first_row_arrival_);
    return static_cast<Nanoseconds>(std::llround(since_first * spec_.arrivals.time_multiplier));
  }

  WorkloadSpec spec_;
  std::unique_ptr<ArrivalSource> arrivals_;  // none: the trace's
  LengthSource prompt_tokens_;
  LengthSource output_tokens_;
  std::unique_ptr<TraceReader> trace_;
  TraceRow row_;   // that first_ was drawn from
  Request first_;  // the plain request of the samples that are being given
  std::uint32_t samples_left_ = 0;
  RequestId next_id_ = 0;
  Nanoseconds first_row_arrival_ = 0;
};

Status read_through(TraceReader& trace) {
  for (;;) {
    Result<std::optional<TraceRow>> row = trace.next();
    if (!row) return tl::unexpected<Error>(row.error());
    if (!*row) return {};
  }
}

}  // namespace

Result<std::unique_ptr<RequestStream>> open_workload(const WorkloadSpec& spec) {
  if (!uses_trace(spec)) return std::make_unique<WorkloadStream>(spec, nullptr);
  Result<std::unique_ptr<TraceReader>> trace = open_trace(spec.trace.path, spec.trace.format);
  if (!trace) return tl::unexpected<Error>(trace.error());
  if (Status status = read_through(**trace); !status) return tl::unexpected<Error>(status.error());
  trace = open_trace(spec.trace.path, spec.trace.format);
  if (!trace) return tl::unexpected<Error>(trace.error());
  return std::make_unique<WorkloadStream>(spec, std::move(*trace));
}

}  // namespace kvrm
