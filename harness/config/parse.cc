#include "harness/config/parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "harness/base/mutation.h"
#include "harness/config/diagnose.h"
#include "harness/config/load_experiment.h"
#include "harness/config/load_yaml.h"
#include "harness/config/merge.h"
#include "harness/config/read_point.h"
#include "harness/config/sections.h"
#include "harness/config/sweep.h"

namespace kvrm {
namespace {

// --set beats what the cases of a sweep give for the same key, so it is laid over them too.
Status override_cases(const Override& override_of, ConfigNode& tree) {
  ConfigNode* sweep = tree.find("sweep");
  if (sweep == nullptr || is_whole_experiment_key(split_path(override_of.path).front())) return {};
  for (ConfigNode& axis : sweep->children) {
    ConfigNode* cases = axis.find("cases");
    if (cases == nullptr) continue;
    for (ConfigNode& sweep_case : cases->children) {
      if (!look_up(sweep_case, override_of.path).complete) continue;
      Status status = set_path(sweep_case, override_of.path, override_of.value);
      if (!status) return status;
    }
  }
  return {};
}

Result<std::vector<Override>> apply_overrides(const std::vector<std::string>& texts,
                                              ConfigNode& tree) {
  std::vector<Override> overrides;
  for (const std::string& text : texts) {
    Result<Override> parsed = parse_override(text);
    if (!parsed) return tl::unexpected<Error>(parsed.error());
    Status status = set_path(tree, parsed->path, parsed->value);
    if (status) status = override_cases(*parsed, tree);
    if (!status) return tl::unexpected<Error>(status.error());
    overrides.push_back(std::move(*parsed));
  }
  return overrides;
}

// Whether `found` has what `value` put into `wanted`. A later --set may have taken it out again.
bool stands(const ConfigNode& value, const ConfigNode* wanted, const ConfigNode* found) {
  if (wanted == nullptr || found == nullptr) return wanted == nullptr;
  if (value.kind != ConfigNode::Kind::map) return emit_yaml_flow(*wanted) == emit_yaml_flow(*found);
  return std::ranges::all_of(value.children, [&](const ConfigNode& child) {
    return stands(child, wanted->find(child.key), found->find(child.key));
  });
}

// The values of an axis beat --set: a --set of the same key would be silently lost.
Status check_overrides_stand(const std::vector<Override>& overrides, const ConfigNode& tree,
                             const std::vector<SweepPoint>& points) {
  for (const Override& override_of : overrides) {
    if (is_whole_experiment_key(split_path(override_of.path).front())) continue;
    const ConfigNode* wanted = look_up(tree, override_of.path).node;
    for (const SweepPoint& point : points) {
      const PathLookup found = look_up(point.tree, override_of.path);
      if (found.complete && stands(override_of.value, wanted, found.node)) continue;
      std::vector<std::string> axes;
      for (const auto& [name, value] : point.axes)
        axes.push_back(fmt::format("{} = {}", name, value));
      return config_error(override_of.value.place, override_of.path,
                          "a key that the sweep sets at " + join_names(axes),
                          "keys that no axis sets, or the axis itself, below `sweep`");
    }
  }
  return {};
}

Result<std::vector<ExperimentPoint>> read_points(const std::vector<SweepPoint>& trees,
                                                 const ParseRequest& request) {
  std::vector<ExperimentPoint> points;
  for (const SweepPoint& tree : trees) {
    Result<ExperimentPoint> point =
        read_point(tree, {request.engine_kinds, request.backend_kinds, request.metric_columns});
    if (!point) return tl::unexpected<Error>(point.error());
    points.push_back(std::move(*point));
  }
  return points;
}

constexpr std::string_view kOnlyEngines = "only_engines";

// --engine as the key of the experiment that says the same, whose value it beats.
void write_only_engines(const std::vector<std::string>& names, ConfigNode& tree) {
  if (names.empty()) return;
  if (KVRM_MUTATE(config_file_beats_engine_flag, false, tree.find(kOnlyEngines) != nullptr)) return;
  ConfigNode& list = tree.entry(kOnlyEngines, {"--engine", 0, 0});
  list.kind = ConfigNode::Kind::list;
  list.children.clear();
  for (const std::string& name : names) {
    ConfigNode& node = list.children.emplace_back();
    node.kind = ConfigNode::Kind::scalar;
    node.text = name;
    node.place.source = "--engine " + name;
  }
}

// An engine that is not there is refused with those that are.
Status check_only_engines(const ConfigNode& list, const std::vector<ExperimentPoint>& points) {
  std::set<std::string> known;
  for (const ExperimentPoint& point : points) {
    for (const EngineSpec& engine : point.engines) known.insert({engine.kind, engine.label});
  }
  const std::vector<std::string> choices(known.begin(), known.end());
  if (list.kind != ConfigNode::Kind::list || list.children.empty()) {
    return config_error(list.place, kOnlyEngines, describe(list),
                        "a list of " + join_names(choices));
  }
  for (const ConfigNode& name : list.children) {
    if (known.contains(name.text)) continue;
    const bool in_file = name.place.line > 0;
    return config_error(name.place, in_file ? kOnlyEngines : "",
                        in_file ? describe(name) : "no such engine in the experiment",
                        join_names(choices) + nearest_name_hint(name.text, choices));
  }
  return {};
}

// Keeps the engines that are named by kind or label, in the order of the file.
Status keep_engines(const ConfigNode* list, std::vector<ExperimentPoint>& points) {
  if (list == nullptr) return {};
  if (Status status = check_only_engines(*list, points); !status) return status;
  for (ExperimentPoint& point : points) {
    std::erase_if(point.engines, [&](const EngineSpec& engine) {
      return std::ranges::none_of(list->children, [&](const ConfigNode& name) {
        return name.text == engine.kind || name.text == engine.label;
      });
    });
  }
  std::erase_if(points, [](const ExperimentPoint& point) { return point.engines.empty(); });
  return {};
}

void write_label(ConfigNode& engine) {
  if (engine.find("label") != nullptr) return;
  ConfigNode label = *engine.find("kind");
  label.key = "label";
  label.quoted = label.kind == ConfigNode::Kind::nothing;  // the engine `null`
  label.kind = ConfigNode::Kind::scalar;
  engine.children.push_back(std::move(label));
}

// Defaults written out, but for what depends on the point of a sweep: its cases stay as they are.
std::string resolve(ConfigNode tree, const ParseRequest& request) {
  write_defaults(tree, experiment_keys(request.engine_kinds, request.backend_kinds));
  const Section<EngineSpec> section = engine_section(request.engine_kinds);
  if (ConfigNode* engines = tree.find("engines")) {
    for (ConfigNode& engine : engines->children) {
      write_label(engine);
      write_defaults(engine, section.keys());
    }
  }
  return emit_yaml(tree);
}

}  // namespace

Result<Experiment> parse_experiment(const ParseRequest& request) {
  Result<ConfigNode> tree = request.text.empty() ? load_experiment_tree(request.file)
                                                 : load_experiment_text(request.text, request.file);
  if (!tree) return tl::unexpected<Error>(tree.error());
  Result<std::vector<Override>> overrides = apply_overrides(request.overrides, *tree);
  if (!overrides) return tl::unexpected<Error>(overrides.error());
  write_only_engines(request.only_engines, *tree);
  Result<std::vector<SweepPoint>> trees = expand_sweep(*tree);
  if (!trees) return tl::unexpected<Error>(trees.error());
  Status status = check_overrides_stand(*overrides, *tree, *trees);
  if (!status) return tl::unexpected<Error>(status.error());
  Result<std::vector<ExperimentPoint>> points = read_points(*trees, request);
  if (!points) return tl::unexpected<Error>(points.error());
  status = keep_engines(tree->find(kOnlyEngines), *points);
  if (!status) return tl::unexpected<Error>(status.error());
  Experiment experiment;
  experiment.name = tree->find("name")->text;
  experiment.question = tree->find("question")->text;
  experiment.file = request.file;
  experiment.points = std::move(*points);
  experiment.axes = axis_names(*tree);
  experiment.resolved_yaml = resolve(std::move(*tree), request);
  return experiment;
}

}  // namespace kvrm
