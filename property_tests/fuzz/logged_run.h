// A small `kvrm` engine driven by bytes through the calls that a driver makes, with its log, its
// outputs and its step images kept: what replays are judged by. It changes no log.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "engines/decoder/decoder_model.h"
#include "engines/descriptor/descriptor_log.h"
#include "harness/contract/engine_spec.h"
#include "harness/contract/replayed_log.h"
#include "harness/device/device.h"
#include "kernels/dispatch/kernel_set.h"
#include "property_tests/fuzz/fuzz_input.h"

namespace kvrm {

// What an engine is made on. Made once for all inputs, because it takes longer than a run.
struct ReplayWorld {
  std::unique_ptr<DecoderModel> attention;
  std::unique_ptr<DecoderModel> decoder;
  std::unique_ptr<Device> device;
  KernelSet kernels;
};
const ReplayWorld& replay_world();

struct LoggedRun {
  const DecoderModel* model = nullptr;
  EngineSpec spec;
  DescriptorLogInfo info;
  std::vector<LogEntry> entries;
  std::vector<std::vector<std::byte>> images;  // after each step
  ReplayedLog given;
};

// Takes options and calls off the input.
LoggedRun run_logged(FuzzReader& reader);

}  // namespace kvrm
