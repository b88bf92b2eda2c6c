// File names in an experiment: `${KVRM_DATA_DIR}` and paths relative to the file that names them,
// made absolute before anything is merged.
#pragma once

#include <string>

#include "harness/base/result.h"
#include "harness/config/config_node.h"

namespace kvrm {

// The environment's KVRM_DATA_DIR, else ../shared/data below the working directory. Absolute.
std::string data_directory();

// `name` with the data directory put in, absolute; a relative name is relative to the folder of
// `place.source`, or to the working directory where the place is a --set. An empty name stays
// empty.
Result<std::string> resolve_file_name(const std::string& name, const SourcePlace& place,
                                      const std::string& path);

// Resolves every file name in a tree: the values of `checkpoint`, `tokenizer` and `trace.path`, and
// the values of a sweep's axis over one of them. `path` is where the tree stands in the experiment.
Status resolve_paths(ConfigNode& tree, const std::string& path);

}  // namespace kvrm
