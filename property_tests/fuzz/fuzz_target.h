// The fuzz targets: bytes in, a reader's answer judged, out whether the reader took them. A broken
// promise is a failed CHECK, which a fuzzer sees as a crash. Who makes the bytes is not known here:
// clang's libFuzzer (fuzz_main.cc), or the corpora of the tree (corpus_test.cc).
#pragma once

#include <cstdint>
#include <span>

namespace kvrm {

enum class FuzzOutcome : std::uint8_t { refused, accepted };

using FuzzBytes = std::span<const std::uint8_t>;
using FuzzTarget = FuzzOutcome (*)(FuzzBytes);

// Experiment YAML, with a file that it extends and --set texts.
FuzzOutcome fuzz_experiment(FuzzBytes input);
// Trace files; the first byte chooses the format.
FuzzOutcome fuzz_traces(FuzzBytes input);
// llama2.c checkpoints; the first byte says whether the file is made as long as its header wants.
FuzzOutcome fuzz_checkpoint(FuzzBytes input);
// llama2.c tokenizers, and the text that is encoded with them.
FuzzOutcome fuzz_tokenizer(FuzzBytes input);
// Prompts of `kvrm generate`, JSONL.
FuzzOutcome fuzz_prompts(FuzzBytes input);
// The file format of descriptor logs, and the dump of its records.
FuzzOutcome fuzz_descriptor_log(FuzzBytes input);
// Replays of a log that a real engine wrote and that was then changed, its checksums made right.
FuzzOutcome fuzz_log_replay(FuzzBytes input);
// Texts and numbers that come out of the report writers.
FuzzOutcome fuzz_reports(FuzzBytes input);

}  // namespace kvrm
