// The composition root: the one file that knows every name. Explicit ordered lists (engines,
// backends, report writers, benchmark suites) and the functions that make models, workloads and the
// oracle; main() is in harness/cli and harness/bench.
#include <kvrm_version.h>

#include "engines/bench/attention_suite.h"
#include "engines/bench/decoder_suite.h"
#include "engines/bench/transport_suite.h"
#include "engines/decoder/decoder_model.h"
#include "engines/decoder/tokenizer.h"
#include "engines/descriptor/descriptor_bench.h"
#include "engines/history/pager_bench.h"
#include "engines/kvrm/kvrm_bench.h"
#include "engines/kvrm/kvrm_engine.h"
#include "engines/kvrm/replay_log.h"
#include "engines/null/null_engine.h"
#include "engines/paged/paged_engine.h"
#include "engines/static/static_engine.h"
#include "harness/bench/harness_suite.h"
#include "harness/device/cpu_device.h"
#include "harness/driver/registry.h"
#include "kernels/dispatch/kernel_set.h"
#include "property_tests/oracle/oracle_engine.h"
#include "reports/writers/writers.h"
#include "workloads/generators/open_workload.h"
#include "workloads/traces/summary.h"

namespace kvrm {
namespace {

using PooledFactory = Result<std::unique_ptr<Engine>> (*)(const EngineSpec&, const DecoderModel&,
                                                          const KernelSet&, Device&);

// Engines that decode take the packed model and the kernels that their device reports.
auto decoding(PooledFactory factory) {
  return [factory](const EngineSpec& spec, const Model& model,
                   Device& device) -> Result<std::unique_ptr<Engine>> {
    const Result<KernelSet> kernels = select_kernels(device.info().kernel_target);
    if (!kernels) return tl::unexpected(kernels.error());
    // load_model below makes no other type.
    return factory(spec, static_cast<const DecoderModel&>(model), *kernels, device);
  };
}

std::vector<EngineEntry> engines() {
  return {
      {"static", "contiguous max_len per slot, one graph", decoding(make_static_engine)},
      {"paged", "block pool, eager launches", decoding(make_paged_engine)},
      {"paged_graph", "block pool, one graph per batch bucket", decoding(make_paged_graph_engine)},
      {"kvrm", "block pool through the pager, one step descriptor, one graph",
       decoding(make_kvrm_engine), true},
      {"null", "answers at once: measures the harness itself",
       [](const EngineSpec& spec, const Model& model, Device&) {
         return make_null_engine(spec, model);
       }},
  };
}

std::vector<BackendEntry> backends() {
  return {
      {"cpu",
       [](const BackendSpec& spec) -> Result<std::unique_ptr<Device>> {
         const Result<KernelSet> kernels = select_kernels(spec.kernels);
         if (!kernels) return tl::unexpected(kernels.error());
         return make_cpu_device(
             {.workers = spec.workers, .kernel_target = kernels->target, .async = spec.overlap});
       }},
  };
}

Result<std::unique_ptr<Model>> load_model(const ModelSpec& spec) {
  return DecoderModel::load(spec).map(
      [](std::unique_ptr<DecoderModel> model) -> std::unique_ptr<Model> { return model; });
}

Result<ReplayedLog> replay_log(const std::string& file, const EngineSpec& spec, const Model& model,
                               Device& device) {
  const Result<KernelSet> kernels = select_kernels(device.info().kernel_target);
  if (!kernels) return tl::unexpected(kernels.error());
  return replay_descriptor_log(file, spec, static_cast<const DecoderModel&>(model), *kernels,
                               device);
}

}  // namespace

Registry make_registry() {
  return {
      .version = KVRM_VERSION_TEXT,
      .engines = engines(),
      .backends = backends(),
      .writers = report_writers(),
      .render_table = render_table,
      .load_model = load_model,
      .load_tokenizer = load_tokenizer,
      .open_workload = open_workload,
      .summarise_trace = summarise_trace,
      .replay_log = replay_log,
      .experiment_of_log = experiment_of_log,
      .dump_log = dump_descriptor_log,
      .make_oracle = make_oracle_engine,
  };
}

std::vector<BenchSuite> make_bench_suites(const TraceSwitch& tool) {
  return {harness_suite(tool), pager_suite(),     descriptor_suite(), kvrm_suite(),
          attention_suite(),   transport_suite(), decoder_suite()};
}

}  // namespace kvrm
