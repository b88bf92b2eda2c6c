#include "harness/config/read_point.h"

#include <fmt/format.h>

#include <algorithm>

#include "harness/config/check_point.h"
#include "harness/config/diagnose.h"
#include "harness/config/load_yaml.h"
#include "harness/config/sections.h"

namespace kvrm {
namespace {

// Reads tree[name] into `out`; an absent section is an empty map, so that its required keys are
// missed by name.
template <class T>
Status read_section(const ConfigNode& tree, const std::string& name, const Section<T>& section,
                    T& out) {
  ConfigNode empty;
  empty.kind = ConfigNode::Kind::map;
  empty.place = tree.place;
  const ConfigNode* node = tree.find(name);
  Result<T> value = section.read(node == nullptr ? empty : *node, name);
  if (!value) return tl::unexpected<Error>(value.error());
  out = std::move(*value);
  return {};
}

Status read_sections(const ConfigNode& tree, const std::vector<std::string>& backend_kinds,
                     ExperimentPoint& out) {
  Status status = read_section(tree, "model", model_section(), out.model);
  if (status) status = read_section(tree, "backend", backend_section(backend_kinds), out.backend);
  if (status) status = read_section(tree, "workload", workload_section(), out.workload);
  if (status) status = read_section(tree, "budget", budget_section(), out.budget);
  if (status) status = read_section(tree, "driver", driver_section(), out.driver);
  if (status) status = read_section(tree, "slo", slo_section(), out.slo);
  if (status) status = read_section(tree, "output", output_section(), out.output);
  return status;
}

// `batch_buckets: max_batch` as the list of that one bucket.
void resolve_batch_buckets(ConfigNode& engine, std::uint32_t max_batch) {
  ConfigNode* options = engine.find("options");
  ConfigNode* buckets = options == nullptr ? nullptr : options->find("batch_buckets");
  if (buckets == nullptr || buckets->kind != ConfigNode::Kind::scalar ||
      buckets->text != "max_batch")
    return;
  ConfigNode bucket = *buckets;
  bucket.text = std::to_string(max_batch);
  buckets->kind = ConfigNode::Kind::list;
  buckets->children = {std::move(bucket)};
}

Result<EngineSpec> read_engine(ConfigNode node, const std::string& path,
                               const Section<EngineSpec>& section, const Budget& budget) {
  resolve_batch_buckets(node, budget.max_batch);
  Result<EngineSpec> engine = section.read(node, path);
  if (!engine) return engine;
  if (engine->label.empty()) engine->label = engine->kind;
  if (!engine->label.starts_with(engine->kind)) {
    const ConfigNode& label = *node.find("label");
    return config_error(label.place, join_path(path, "label"), describe(label),
                        fmt::format("a label that begins with the kind, \"{}\"", engine->kind));
  }
  engine->budget = budget;
  return engine;
}

Status read_engines(const ConfigNode& list, const std::vector<std::string>& engine_kinds,
                    ExperimentPoint& out) {
  if (list.kind != ConfigNode::Kind::list || list.children.empty()) {
    return config_error(list.place, "engines", describe(list), "a list of {kind, label, options}");
  }
  const Section<EngineSpec> section = engine_section(engine_kinds);
  for (std::size_t i = 0; i < list.children.size(); ++i) {
    const std::string path = join_path("engines", std::to_string(i));
    Result<EngineSpec> engine = read_engine(list.children[i], path, section, out.budget);
    if (!engine) return tl::unexpected<Error>(engine.error());
    for (const EngineSpec& other : out.engines) {
      if (other.label != engine->label) continue;
      return config_error(list.children[i].place, join_path(path, "label"),
                          fmt::format("the label \"{}\" a second time", engine->label),
                          "a label of its own for each engine");
    }
    out.engines.push_back(std::move(*engine));
  }
  return {};
}

// There are too many metrics to list them in a message.
Status check_columns(const ConfigNode& tree, const std::vector<std::string>& metric_columns) {
  const ConfigNode* output = tree.find("output");
  const ConfigNode* columns = output == nullptr ? nullptr : output->find("columns");
  if (columns == nullptr) return {};
  for (std::size_t i = 0; i < columns->children.size(); ++i) {
    const ConfigNode& name = columns->children[i];
    if (std::ranges::find(metric_columns, name.text) != metric_columns.end()) continue;
    return config_error(name.place, join_path("output.columns", std::to_string(i)), describe(name),
                        "a number of docs/metrics.md, a percentile as NAME.p99" +
                            nearest_name_hint(name.text, metric_columns));
  }
  return {};
}

// Name and question belong to the whole experiment and are the same in every point.
Status check_texts(const ConfigNode& tree) {
  for (const auto& [key, codec] :
       {std::pair("name", identifier()), std::pair("question", non_empty_text())}) {
    const ConfigNode& node = *tree.find(key);
    if (!codec.read(node)) return refuse_value(node, key, codec.allowed, {}, {});
  }
  return {};
}

}  // namespace

Result<ExperimentPoint> read_point(const SweepPoint& point, const KnownNames& known) {
  ExperimentPoint out;
  out.axes = point.axes;
  const ConfigNode& tree = point.tree;
  Status status =
      check_keys(tree, "", experiment_keys(known.engine_kinds, known.backend_kinds), "");
  if (status) status = check_texts(tree);
  if (status) status = read_sections(tree, known.backend_kinds, out);
  if (status) status = read_engines(*tree.find("engines"), known.engine_kinds, out);
  if (status) status = check_columns(tree, known.metric_columns);
  out.model.shape.max_len = out.budget.max_len;
  if (status) status = check_point(tree, out);
  if (!status) return tl::unexpected<Error>(status.error());
  return out;
}

}  // namespace kvrm
