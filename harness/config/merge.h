// Trees laid over trees: what `extends`, `--set` and a sweep's cases do. Maps merge deeply, lists
// and scalars replace.
#pragma once

#include <string>
#include <vector>

#include "harness/base/result.h"
#include "harness/config/config_node.h"

namespace kvrm {

// Lays `over` on `base`. A map under `arrivals`, `prompt_tokens` or `output_tokens` that names
// another `kind` than the base replaces it whole, because the other kind has other keys.
void merge_over(ConfigNode& base, const ConfigNode& over);

// Lays a value on the node at a dotted path, making maps on the way. An error names the
// step of the path that does not exist, at the place of the value.
Status set_path(ConfigNode& root, const std::string& path, const ConfigNode& value);

struct Override {
  std::string path;
  ConfigNode value;
};

// "key.path=value" as given to --set; the value is YAML.
Result<Override> parse_override(const std::string& text);

}  // namespace kvrm
