// Everything that the harness uses but does not know, filled in once by the composition root
// (kvrm.cc): explicit ordered lists of engines, backends and report writers, and the functions that
// make models and workloads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "harness/base/result.h"
#include "harness/config/experiment.h"
#include "harness/contract/engine.h"
#include "harness/contract/engine_spec.h"
#include "harness/contract/model.h"
#include "harness/contract/replayed_log.h"
#include "harness/contract/request.h"
#include "harness/device/device.h"

namespace kvrm {

struct ExperimentResult;

struct EngineEntry {
  std::string kind;
  std::string description;  // one line, for `kvrm doctor` and errors
  std::function<Result<std::unique_ptr<Engine>>(const EngineSpec&, const Model&, Device&)> make;
  bool logs_descriptors = false;  // EngineSpec::descriptor_log means something to it
};

struct BackendEntry {
  std::string kind;
  std::function<Result<std::unique_ptr<Device>>(const BackendSpec&)> make;
};

// Writes one file of a results directory.
struct WriterEntry {
  std::string file_name;                                               // "results.json"
  std::function<Result<std::string>(const ExperimentResult&)> render;  // whole content
};

struct TextCodec {                                                      // a tokenizer
  std::function<std::vector<TokenId>(const std::string& text)> encode;  // begins with BOS
  std::function<std::string(TokenId previous, TokenId token)> decode;
};

struct TraceSummary;

struct Registry {
  std::string version;  // "kvrm 0.1.0 (commit)"
  std::vector<EngineEntry> engines;
  std::vector<BackendEntry> backends;
  std::vector<WriterEntry> writers;
  // The comparison on a terminal of 100 columns.
  std::function<std::string(const ExperimentResult&, bool color)> render_table;
  std::function<Result<std::unique_ptr<Model>>(const ModelSpec&)> load_model;
  std::function<Result<TextCodec>(const std::string& file, std::uint32_t vocabulary)>
      load_tokenizer;
  // Parses a workload's files whole before it returns; max_len clamps nothing, the driver refuses
  // what cannot fit.
  std::function<Result<std::unique_ptr<RequestStream>>(const WorkloadSpec&)> open_workload;
  std::function<Result<TraceSummary>(const std::string& file, const std::string& format)>
      summarise_trace;
  // Replays a descriptor log on an engine of this spec; the YAML of the experiment that it was
  // written under; its records as text.
  std::function<Result<ReplayedLog>(const std::string& file, const EngineSpec&, const Model&,
                                    Device&)>
      replay_log;
  std::function<Result<std::string>(const std::string& file)> experiment_of_log;
  std::function<Result<std::string>(const std::string& file)> dump_log;
  // The oracle as an Engine: double precision, one slot, plain loops. With an enabled rule it is
  // the reference of the engines that follow that rule, and its own shadow.
  std::function<std::unique_ptr<Engine>(const Model&, const FarHistoryRule&)> make_oracle;
};

// Defined by the composition root, kvrm.cc.
Registry make_registry();

}  // namespace kvrm
