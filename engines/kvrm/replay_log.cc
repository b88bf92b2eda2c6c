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
  Replay(KvrmEngine& engine, const std::string& path) : engine_(engine), path_(path) {}

  Status take(const LogEntry& entry) {
    if (entry.kind == LogEntryKind::step) return step(entry);
    const std::size_t least = least_bytes(entry.kind);
    if (least == 0 || entry.bytes.size() < least) return wrong(entry, "is no call of this engine");
    switch (static_cast<EngineCall>(entry.kind)) {
      case EngineCall::admit:
        return admit(entry);
      case EngineCall::prefill:
        return prefill(entry);
      case EngineCall::extend:
        if (engine_.extend(fixed_part<SlotIndex>(entry))) return {};
        return wrong(entry, "extends a slot that has no room here");
      case EngineCall::release:
        engine_.release(fixed_part<SlotIndex>(entry));
        return {};
      case EngineCall::submit:
        return submit(entry);
    }
    return wrong(entry, "is no call of this engine");
  }
  ReplayedLog result() { return std::move(result_); }

 private:
  static std::size_t least_bytes(LogEntryKind kind) {
    switch (static_cast<EngineCall>(kind)) {
      case EngineCall::admit:
        return sizeof(AdmitEntry);
      case EngineCall::prefill:
        return sizeof(PrefillEntry);
      case EngineCall::extend:
      case EngineCall::release:
      case EngineCall::submit:
        return sizeof(SlotIndex);
    }
    return 0;
  }

  Status wrong(const LogEntry& entry, const std::string& what) const {
    return bad_input(fmt::format("{}: byte {}: the entry {}", path_, entry.offset, what));
  }

  Status admit(const LogEntry& entry) {
    const auto admitted = fixed_part<AdmitEntry>(entry);
    const std::size_t token_bytes = std::size_t{admitted.tokens} * sizeof(TokenId);
    if (entry.bytes.size() != sizeof(admitted) + token_bytes) {
      return wrong(entry, "is not as long as its tokens");
    }
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
    if (!engine_.admit(admission)) return wrong(entry, "admits a request that has no room here");
    if (requests_.size() <= admitted.slot) requests_.resize(admitted.slot + 1);
    requests_[admitted.slot] = admitted.request;
    return {};
  }

  Status prefill(const LogEntry& entry) {
    const auto chunk = fixed_part<PrefillEntry>(entry);
    take_rows(engine_.prefill(
        {.slot = chunk.slot, .first = chunk.first, .count = chunk.count, .last = chunk.last != 0}));
    return {};
  }

  // The step's record is the next entry.
  Status submit(const LogEntry& entry) {
    slots_.resize(entry.bytes.size() / sizeof(SlotIndex));
    std::memcpy(slots_.data(), entry.bytes.data(), slots_.size() * sizeof(SlotIndex));
    return {};
  }

  Status step(const LogEntry& entry) {
    if (slots_.empty()) return wrong(entry, "is a step record without its slots");
    const Result<StepResult> result =
        engine_.replay_step({.step = result_.steps + 1, .slots = slots_}, entry.bytes);
    if (!result) return wrong(entry, "is a step record that " + result.error().message);
    slots_.clear();
    ++result_.steps;
    take_rows(*result);
    return {};
  }

  void take_rows(const StepResult& result) {
    for (const RowResult& row : result.rows) {
      result_.outputs[requests_[row.slot]].push_back(row.output_digest);
    }
  }

  KvrmEngine& engine_;
  const std::string& path_;
  std::vector<RequestId> requests_;  // by slot
  std::vector<SlotIndex> slots_;     // of the submit() whose record comes next
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
  Replay replay(**engine, path);
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

}  // namespace kvrm
