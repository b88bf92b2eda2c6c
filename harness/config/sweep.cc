#include "harness/config/sweep.h"

#include <fmt/format.h>

#include <algorithm>

#include "harness/config/diagnose.h"
#include "harness/config/load_yaml.h"
#include "harness/config/merge.h"
#include "harness/config/section.h"
#include "harness/config/sections.h"

namespace kvrm {
namespace {

constexpr std::size_t kMostPoints = 10'000;

struct Axis {
  std::string name;
  std::string key;                 // path that the values are set at; empty: named cases
  std::vector<ConfigNode> values;  // a case's `key` is its name
};

KeyInfo axis_key(std::string name, std::string allowed, Presence presence) {
  KeyInfo info;
  info.name = std::move(name);
  info.allowed = std::move(allowed);
  info.presence = presence;
  return info;
}

std::vector<KeyInfo> axis_keys(const ConfigNode& axis) {
  if (axis.find("cases") != nullptr || axis.find("key") == nullptr) {
    return {axis_key("name", "a name of the axis", Presence::required),
            axis_key("cases", "a map of cases", Presence::required)};
  }
  return {axis_key("key", "a key path", Presence::required),
          axis_key("values", "a list of values", Presence::required),
          axis_key("name", "a name of the axis", Presence::derived)};
}

Status check_axis_key(const ConfigNode& node, const std::string& path, const std::string& key) {
  const std::string first = split_path(key).front();
  if (!is_whole_experiment_key(first)) return {};
  return config_error(node.place, path, fmt::format("\"{}\", which no sweep can set", first),
                      "keys of sections, such as workload.arrivals.rate_per_s");
}

Status check_values(const ConfigNode& node, const std::string& path, ConfigNode::Kind kind) {
  if (node.kind != kind || node.children.empty()) {
    return config_error(node.place, path, describe(node),
                        kind == ConfigNode::Kind::map ? "a map of cases" : "a list of values");
  }
  if (kind == ConfigNode::Kind::list) return {};
  for (const ConfigNode& sweep_case : node.children) {
    const std::string case_path = join_path(path, sweep_case.key);
    if (sweep_case.kind != ConfigNode::Kind::map) {
      return config_error(sweep_case.place, case_path, describe(sweep_case),
                          "a map of keys of the experiment");
    }
    for (const ConfigNode& child : sweep_case.children) {
      if (Status status = check_axis_key(child, join_path(case_path, child.key), child.key);
          !status)
        return status;
    }
  }
  return {};
}

Result<Axis> read_axis(const ConfigNode& node, const std::string& path) {
  if (Status status = check_keys(node, path, axis_keys(node), ""); !status)
    return tl::unexpected<Error>(status.error());
  for (const char* text_key : {"key", "name"}) {
    const ConfigNode* text = node.find(text_key);
    if (text == nullptr || (text->kind == ConfigNode::Kind::scalar && !text->text.empty()))
      continue;
    return config_error(text->place, join_path(path, text_key), describe(*text),
                        "text that is not empty");
  }
  const bool has_cases = node.find("cases") != nullptr;
  Axis axis;
  if (!has_cases) {
    const ConfigNode& key = *node.find("key");
    if (Status status = check_axis_key(key, join_path(path, "key"), key.text); !status)
      return tl::unexpected<Error>(status.error());
    axis.key = key.text;
  }
  const ConfigNode* name = node.find("name");
  axis.name = name == nullptr ? axis.key : name->text;
  const char* const values_key = has_cases ? "cases" : "values";
  const ConfigNode& values = *node.find(values_key);
  const auto kind = has_cases ? ConfigNode::Kind::map : ConfigNode::Kind::list;
  if (Status status = check_values(values, join_path(path, values_key), kind); !status)
    return tl::unexpected<Error>(status.error());
  axis.values = values.children;
  return axis;
}

Result<std::vector<Axis>> read_axes(const ConfigNode& sweep) {
  if (sweep.kind != ConfigNode::Kind::list) {
    return config_error(sweep.place, "sweep", describe(sweep),
                        "a list of {key, values} or {name, cases}");
  }
  std::vector<Axis> axes;
  std::size_t points = 1;
  for (std::size_t i = 0; i < sweep.children.size(); ++i) {
    const std::string path = join_path("sweep", std::to_string(i));
    Result<Axis> axis = read_axis(sweep.children[i], path);
    if (!axis) return tl::unexpected<Error>(axis.error());
    if (std::ranges::find(axes, axis->name, &Axis::name) != axes.end()) {
      return config_error(sweep.children[i].place, path,
                          fmt::format("the axis \"{}\" a second time", axis->name),
                          "each axis once");
    }
    points *= axis->values.size();
    if (points > kMostPoints) {
      return config_error(sweep.place, "sweep", fmt::format("at least {} points", points),
                          fmt::format("at most {}", kMostPoints));
    }
    axes.push_back(std::move(*axis));
  }
  return axes;
}

Status apply_value(const Axis& axis, const ConfigNode& value, SweepPoint& point) {
  if (axis.key.empty()) {
    point.axes[axis.name] = value.key;
    ConfigNode over = value;
    over.key.clear();
    merge_over(point.tree, over);
    return {};
  }
  point.axes[axis.name] =
      value.kind == ConfigNode::Kind::scalar ? value.text : emit_yaml_flow(value);
  return set_path(point.tree, axis.key, value);
}

}  // namespace

std::vector<std::string> axis_names(const ConfigNode& experiment) {
  std::vector<std::string> names;
  const ConfigNode* sweep = experiment.find("sweep");
  if (sweep == nullptr) return names;
  for (const ConfigNode& axis : sweep->children) {
    const ConfigNode* name = axis.find("name");
    names.push_back(name == nullptr ? axis.find("key")->text : name->text);
  }
  return names;
}

Result<std::vector<SweepPoint>> expand_sweep(const ConfigNode& experiment) {
  SweepPoint base{{}, experiment};
  std::erase_if(base.tree.children, [](const ConfigNode& child) { return child.key == "sweep"; });
  std::vector<SweepPoint> points = {std::move(base)};
  const ConfigNode* sweep = experiment.find("sweep");
  if (sweep == nullptr) return points;
  Result<std::vector<Axis>> axes = read_axes(*sweep);
  if (!axes) return tl::unexpected<Error>(axes.error());
  for (const Axis& axis : *axes) {
    std::vector<SweepPoint> product;
    for (const SweepPoint& point : points) {
      for (const ConfigNode& value : axis.values) {
        SweepPoint& extended = product.emplace_back(point);
        if (Status status = apply_value(axis, value, extended); !status)
          return tl::unexpected<Error>(status.error());
      }
    }
    points = std::move(product);
  }
  return points;
}

}  // namespace kvrm
