#include "engines/kvrm/replay_log.h"

#include <fmt/format.h>

#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "engines/descriptor/descriptor_dump.h"
#include "engines/descriptor/descriptor_log.h"
#include "engines/kvrm/engine_log.h"
#include "engines/kvrm/kvrm_engine.h"
#include "engines/kvrm/log_calls.h"
#include "harness/base/mutation.h"

namespace kvrm {
namespace {

template <class T>
T fixed_part(const LogEntry& entry) {
  T value;
  std::memcpy(&value, entry.bytes.data(), sizeof(T));
  return value;
}

// Makes the log's calls on an engine and takes down what they give.
class Replay {
 public:
  Replay(KvrmEngine& engine, std::uint32_t vocabulary, const std::string& path)
      : engine_(engine),
        calls_(engine.info(), vocabulary),
        path_(path),
        requests_(engine.info().slots) {}

  Status take(const LogEntry& entry) {
    const std::string fault = entry.kind == LogEntryKind::step ? step(entry) : call(entry);
    if (fault.empty()) return {};
    return bad_input(fmt::format("{}: byte {}: the entry {}", path_, entry.offset, fault));
  }
  ReplayedLog result() {
    collect();
    return std::move(result_);
  }

 private:
  static std::size_t least_bytes(EngineCall kind) {
    switch (kind) {
      case EngineCall::admit:
        return sizeof(AdmitEntry);
      case EngineCall::prefill:
        return sizeof(PrefillEntry);
      case EngineCall::extend:
      case EngineCall::extend_ahead:
      case EngineCall::release:
      case EngineCall::submit:
        return sizeof(SlotIndex);
      case EngineCall::experiment:
        return 0;
    }
    return SIZE_MAX;
  }

  // These give what is wrong with the entry, or nothing.
  std::string call(const LogEntry& entry) {
    const auto kind = static_cast<EngineCall>(entry.kind);
    if (entry.bytes.size() < least_bytes(kind)) return "is no call of this engine";
    if (!slots_.empty()) return "stands between a step and its record";
    const bool ahead =
        KVRM_MUTATE(engine_logged_room_after_step, kind == EngineCall::extend_ahead, false);
    if (!ahead) collect();
    switch (kind) {
      case EngineCall::admit:
        return admit(entry);
      case EngineCall::prefill:
        return prefill(fixed_part<PrefillEntry>(entry));
      case EngineCall::extend:
      case EngineCall::extend_ahead:
        return extend(fixed_part<SlotIndex>(entry));
      case EngineCall::release:
        return release(fixed_part<SlotIndex>(entry));
      case EngineCall::submit:
        return submit(entry);
      case EngineCall::experiment:
        return {};
    }
    return {};
  }

  std::string admit(const LogEntry& entry) {
    const auto admitted = fixed_part<AdmitEntry>(entry);
    const std::size_t token_bytes = std::size_t{admitted.tokens} * sizeof(TokenId);
    if (entry.bytes.size() != sizeof(admitted) + token_bytes) return "is not as long as its tokens";
    std::vector<TokenId> tokens(admitted.tokens);
    if (!tokens.empty()) {
      std::memcpy(tokens.data(), entry.bytes.data() + sizeof(admitted), token_bytes);
    }
    Admission admission{.slot = admitted.slot,
                        .request = admitted.request,
                        .content_key = admitted.content_key,
                        .token_count = admitted.token_count,
                        .tokens = tokens,
                        .prefix_key = admitted.prefix_key,
                        .prefix_tokens = admitted.prefix_tokens};
    if (admitted.forks != 0) admission.fork_from = admitted.fork_from;
    if (std::string fault = calls_.admit(admission); !fault.empty()) return fault;
    if (!engine_.admit(admission)) return "admits a request that has no room here";
    requests_[admitted.slot] = admitted.request;
    return {};
  }

  std::string prefill(const PrefillEntry& entry) {
    const PrefillChunk chunk{
        .slot = entry.slot, .first = entry.first, .count = entry.count, .last = entry.last != 0};
    std::string fault = calls_.prefill(chunk);
    if (fault.empty()) take_rows(engine_.prefill(chunk));
    return fault;
  }

  std::string extend(SlotIndex slot) {
    std::string fault = calls_.extend(slot);
    if (!fault.empty()) return fault;
    return engine_.extend(slot) ? "" : "extends a slot that has no room here";
  }

  std::string release(SlotIndex slot) {
    std::string fault = calls_.release(slot);
    if (fault.empty()) engine_.release(slot);
    return fault;
  }

  // The step's record is the next entry.
  std::string submit(const LogEntry& entry) {
    slots_.resize(entry.bytes.size() / sizeof(SlotIndex));
    std::memcpy(slots_.data(), entry.bytes.data(), slots_.size() * sizeof(SlotIndex));
    return calls_.step(slots_);
  }

  std::string step(const LogEntry& entry) {
    if (slots_.empty()) return "is a step record without its slots";
    const Status done =
        engine_.submit_logged({.step = result_.steps + 1, .slots = slots_}, entry.bytes);
    if (!done) return "is a step record that " + done.error().message;
    in_flight_ = std::exchange(slots_, {});
    ++result_.steps;
    return {};
  }

  void collect() {
    if (in_flight_.empty()) return;
    take_rows(engine_.collect_logged(in_flight_));
    in_flight_.clear();
  }

  void take_rows(const StepResult& result) {
    for (const RowResult& row : result.rows) {
      result_.outputs[requests_[row.slot]].push_back(row.output_digest);
    }
  }

  KvrmEngine& engine_;
  LogCalls calls_;
  const std::string& path_;
  std::vector<RequestId> requests_;   // [slots]
  std::vector<SlotIndex> slots_;      // of the submit() whose record comes next
  std::vector<SlotIndex> in_flight_;  // of the step that is not collected yet
  ReplayedLog result_;
};

}  // namespace

Result<ReplayedLog> replay_descriptor_log(const std::string& path, const EngineSpec& spec,
                                          const DecoderModel& model, const KernelSet& kernels,
                                          Device& device) {
  Result<DescriptorLogReader> reader = DescriptorLogReader::open(path);
  if (!reader) return tl::unexpected(reader.error());
  if (reader->info().fingerprint != log_fingerprint(spec, model)) {
    return bad_input(
        fmt::format("{}: a log of another engine, model or budget than {} of this "
                    "experiment has",
                    path, spec.label));
  }
  const auto engine = KvrmEngine::make(spec, model, kernels, device);
  if (!engine) return tl::unexpected(engine.error());
  // A preset's vocabulary stays in the shape of attention_only, whose requests have no tokens.
  const bool has_tokens = model.shape().kind == ModelKind::decoder;
  Replay replay(**engine, has_tokens ? model.shape().vocabulary : 0, path);
  while (true) {
    const Result<std::optional<LogEntry>> entry = reader->next();
    if (!entry) return tl::unexpected(entry.error());
    if (!entry->has_value()) return replay.result();
    if (Status taken = replay.take(**entry); !taken) return tl::unexpected(taken.error());
  }
}

Result<std::string> dump_descriptor_log(const std::string& path) {
  Result<DescriptorLogReader> reader = DescriptorLogReader::open(path);
  if (!reader) return tl::unexpected(reader.error());
  std::string text;
  while (true) {
    const Result<std::optional<LogEntry>> entry = reader->next();
    if (!entry) return tl::unexpected(entry.error());
    if (!entry->has_value()) return text;
    if ((*entry)->kind != LogEntryKind::step) continue;
    text += dump_record((*entry)->bytes, reader->info().limits);
  }
}

Result<std::string> experiment_of_log(const std::string& path) {
  Result<DescriptorLogReader> reader = DescriptorLogReader::open(path);
  if (!reader) return tl::unexpected(reader.error());
  const Result<std::optional<LogEntry>> first = reader->next();
  if (!first) return tl::unexpected(first.error());
  if (!first->has_value() || static_cast<EngineCall>((*first)->kind) != EngineCall::experiment ||
      (*first)->bytes.empty()) {
    return bad_input(fmt::format("{}: holds no experiment", path));
  }
  return std::string(reinterpret_cast<const char*>((*first)->bytes.data()), (*first)->bytes.size());
}

}  // namespace kvrm
