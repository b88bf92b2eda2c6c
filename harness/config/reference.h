// The reference of all keys, made from their declarations, so that it cannot disagree with them.
#pragma once

#include <string>
#include <vector>

namespace kvrm {

// A Markdown table, one row a key: path, values, default, meaning.
std::string experiment_key_table(const std::vector<std::string>& engine_kinds,
                                 const std::vector<std::string>& backend_kinds);

}  // namespace kvrm
