// Replays a descriptor log: what a run's step records alone make an equal engine give.
#pragma once

#include <string>

#include "engines/decoder/decoder_model.h"
#include "harness/base/result.h"
#include "harness/contract/engine_spec.h"
#include "harness/contract/replayed_log.h"
#include "harness/device/device.h"
#include "kernels/dispatch/kernel_set.h"

namespace kvrm {

// Errors name the file: what cannot be read, a log of another engine, model or budget, a record
// that the graph refuses.
Result<ReplayedLog> replay_descriptor_log(const std::string& path, const EngineSpec& spec,
                                          const DecoderModel& model, const KernelSet& kernels,
                                          Device& device);

// The resolved experiment that the log was written under, as YAML.
Result<std::string> experiment_of_log(const std::string& path);

// Every record of the log as text.
Result<std::string> dump_descriptor_log(const std::string& path);

}  // namespace kvrm
