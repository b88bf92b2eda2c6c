// The declaration of every section of an experiment: which keys it has and which struct they fill.
// Checks across sections are in check_point.h.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "harness/config/experiment.h"
#include "harness/config/section.h"

namespace kvrm {

inline constexpr std::string_view kExperimentSchema = "kvrm.experiment/1";

Section<ModelSpec> model_section();
Section<BackendSpec> backend_section(const std::vector<std::string>& backend_kinds);
Section<WorkloadSpec> workload_section();
Section<EngineSpec> engine_section(const std::vector<std::string>& engine_kinds);
Section<Budget> budget_section();
Section<DriverSpec> driver_section();
Section<SloSpec> slo_section();
Section<OutputSpec> output_section();

// All top-level keys, the sections' keys nested in them.
std::vector<KeyInfo> experiment_keys(const std::vector<std::string>& engine_kinds,
                                     const std::vector<std::string>& backend_kinds);

// Top-level keys that make the experiment as a whole, so that no sweep may set them.
bool is_whole_experiment_key(std::string_view name);

}  // namespace kvrm
