#include "engines/kvrm/engine_log.h"

#include <cstring>
#include <utility>

#include "harness/base/hash.h"

namespace kvrm {
namespace {

template <class T>
void put(std::vector<std::byte>& bytes, std::span<const T> values) {
  const std::span<const std::byte> raw = std::as_bytes(values);
  bytes.insert(bytes.end(), raw.begin(), raw.end());
}

}  // namespace

std::uint64_t log_fingerprint(const EngineSpec& spec, const Model& model) {
  const EngineOptions& options = spec.options;
  const FarHistoryRule& far = options.far_history;
  const std::uint64_t values[] = {
      options.block_tokens,
      static_cast<std::uint64_t>(options.placement),
      static_cast<std::uint64_t>(options.transport),
      options.max_gap_blocks,
      options.max_group_bytes,
      options.compaction_bytes_per_step,
      far.enabled ? 1U : 0U,
      far.enabled ? far.window_tokens : 0U,
      far.enabled ? far.sink_tokens : 0U,
      far.enabled ? far.summaries : 0U,
      spec.budget.kv_bytes,
      spec.budget.max_batch,
      spec.budget.max_len,
      spec.budget.prefill_tokens,
  };
  return hash_bytes(std::as_bytes(std::span(values)), model.digest());
}

Result<EngineLog> EngineLog::create(const std::string& path, const DescriptorLogInfo& info) {
  return DescriptorLogWriter::create(path, info).map([](DescriptorLogWriter writer) {
    return EngineLog(std::move(writer));
  });
}

void EngineLog::experiment(const std::string& yaml) {
  append(EngineCall::experiment, std::as_bytes(std::span(yaml)));
}

void EngineLog::admit(const Admission& admission) {
  const AdmitEntry entry{.slot = admission.slot,
                         .token_count = admission.token_count,
                         .request = admission.request,
                         .content_key = admission.content_key,
                         .prefix_key = admission.prefix_key,
                         .prefix_tokens = admission.prefix_tokens,
                         .fork_from = admission.fork_from.value_or(0),
                         .forks = admission.fork_from ? 1U : 0U,
                         .tokens = static_cast<std::uint32_t>(admission.tokens.size())};
  scratch_.clear();
  put(scratch_, std::span(&entry, 1));
  put(scratch_, admission.tokens);
  append(EngineCall::admit, scratch_);
}

void EngineLog::prefill(const PrefillChunk& chunk) {
  append_value(EngineCall::prefill, PrefillEntry{.slot = chunk.slot,
                                                 .first = chunk.first,
                                                 .count = chunk.count,
                                                 .last = chunk.last ? 1U : 0U});
}

void EngineLog::submit(const StepPlan& step, std::span<const std::byte> record) {
  append(EngineCall::submit, std::as_bytes(step.slots));
  if (failure_.empty()) note(writer_.append(LogEntryKind::step, record));
}

void EngineLog::close() {
  if (failure_.empty()) note(writer_.close());
}

void EngineLog::append(EngineCall call, std::span<const std::byte> bytes) {
  if (failure_.empty()) note(writer_.append(static_cast<LogEntryKind>(call), bytes));
}

void EngineLog::note(const Status& done) {
  if (!done) failure_ = done.error().message;
}

}  // namespace kvrm
