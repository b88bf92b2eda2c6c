// A whole experiment as typed values: what an experiment YAML means after `extends`, `--set`, sweep
// expansion and validation. Nothing here knows YAML; parse.h makes these.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "harness/base/result.h"
#include "harness/base/units.h"
#include "harness/contract/engine_spec.h"
#include "harness/contract/model.h"

namespace kvrm {

struct ModelSpec {
  ModelShape shape;        // from the file when `checkpoint` is given
  std::string checkpoint;  // llama2.c file; empty: generated weights (decoder) or none needed
  std::string tokenizer;   // llama2.c tokenizer file; empty: none
  std::uint64_t seed = 1;  // of generated weights
};

struct BackendSpec {
  std::string kind = "cpu";
  std::string profile;           // modelled backend only
  std::uint32_t workers = 0;     // cpu; 0: one for each core
  std::string kernels = "auto";  // kernel target by name (kernels/dispatch)
  // Not a key of its own: driver.overlap. The caller goes on while the device works; on the cpu it
  // is then no worker.
  bool overlap = false;
};

struct ArrivalSpec {
  enum class Kind : std::uint8_t { closed, poisson, gamma, on_off, per_minute, trace };
  Kind kind = Kind::closed;
  std::uint32_t concurrency = 0;  // closed; 0: budget.max_batch
  double rate_per_s = 0;          // poisson, gamma; on_off: mean over a whole cycle
  double cv = 1;                  // gamma: coefficient of variation of the gaps between arrivals
  double on_s = 0;  // on_off: Poisson at the burst rate for on_s, then silence for off_s
  double off_s = 0;
  std::vector<double>
      per_minute;              // per_minute: expected arrivals in each minute, Poisson within it
  double time_multiplier = 1;  // per_minute, trace: arrival times are multiplied by it
};

struct LengthSpec {
  enum class Kind : std::uint8_t { fixed, uniform, lognormal, quantiles, trace };
  Kind kind = Kind::fixed;
  std::uint32_t value = 0;            // fixed
  std::uint32_t min = 1;              // uniform, and clamp of lognormal and quantiles
  std::uint32_t max = 0;              // likewise; 0: no upper clamp
  double mean = 0;                    // lognormal: of the lengths themselves
  double sigma = 0;                   // lognormal: of log length
  std::vector<double> probabilities;  // quantiles: ascending from 0 to 1; linear in between
  std::vector<double> values;         // quantiles: the length at each probability
  double scale = 1;  // quantiles, trace: lengths are multiplied by it, at least 1 token
};

struct TraceSpec {
  std::string path;
  std::string format = "auto";  // auto, plain, azure, burstgpt, mooncake
};

struct WorkloadSpec {
  std::string family;  // name of the workload family, for people
  std::uint64_t seed = 1;
  std::uint64_t requests = 0;  // 0: all of the trace; every sample counts as one
  std::uint32_t samples = 1;   // requests that each drawn request becomes, over one prompt
  ArrivalSpec arrivals;
  LengthSpec prompt_tokens;
  LengthSpec output_tokens;
  TraceSpec trace;
};

struct DriverSpec {
  std::uint32_t repeats = 3;
  // Requests that finish before this share of all requests has finished are warm-up; metrics start
  // there. `driver.warmup: none` is 0.
  double warmup_share = 0.1;
  double generator_lag_budget_ms = 5;  // p99 of the lag above it: the run is `invalid`
  bool overlap = false;                // host work of the next step while one runs, in every engine
  double time_limit_s =
      0;  // per engine and repeat; 0: none. Requests left are in flight at the end
  std::uint64_t max_kv_bytes = 0;  // points with a larger KV budget are skipped; 0: none are
};

struct SloSpec {  // 0: not asked for
  double ttft_ms = 0;
  double itl_ms = 0;  // on a request's p99 ITL
  double e2e_ms = 0;
  double spike_factor = 5;
};

enum class RowDetail : std::uint8_t { all, sampled, none };

struct OutputSpec {
  RowDetail requests = RowDetail::all;
  RowDetail steps = RowDetail::sampled;
  bool point_estimates = false;
  // Metrics of the one table that answers the experiment (harness/metrics/columns.h); empty: a
  // fixed table for each point.
  std::vector<std::string> columns;
};

// One point of the sweep (or the only one): everything that a comparison needs.
struct ExperimentPoint {
  std::map<std::string, std::string>
      axes;  // axis name -> value, as in the YAML; empty without a sweep
  ModelSpec model;
  BackendSpec backend;
  WorkloadSpec workload;
  std::vector<EngineSpec> engines;  // in the order of the file; labels unique
  Budget budget;
  DriverSpec driver;
  SloSpec slo;
  OutputSpec output;
};

struct Experiment {
  std::string name;
  std::string question;
  std::string file;                     // as given on the command line
  std::vector<ExperimentPoint> points;  // product of the sweep's axes, first axis slowest
  std::string resolved_yaml;            // after extends and --set, before the sweep is expanded
  std::vector<std::string> axes;        // names of the sweep's, slowest first
};

}  // namespace kvrm
