// The one form of every configuration error: PLACE: key.path: what was found, what is allowed, the
// nearest valid name. Composing the words only; deciding what is wrong is done where the keys are
// known.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "harness/base/result.h"
#include "harness/config/config_node.h"

namespace kvrm {

// "PLACE: PATH: found FOUND, allowed: ALLOWED". An empty path is left out.
tl::unexpected<Error> config_error(const SourcePlace& place, std::string_view path,
                                   std::string_view found, std::string_view allowed);

// What a node is, in words: `"abc"`, `the list [1, 2]`, `an empty map`, `nothing`.
std::string describe(const ConfigNode& node);

// "a, b, c".
std::string join_names(std::span<const std::string> names);

// "; did you mean "x"?" for the name nearest to `wrong`: one that begins with it, or by Levenshtein
// distance. Empty when none is near (over a third of the length, plus one).
std::string nearest_name_hint(std::string_view wrong, std::span<const std::string> names);

}  // namespace kvrm
