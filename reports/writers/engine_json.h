// The parts of results.json that belong to one engine at one point, and the JSON of plain values.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "harness/result/results.h"

namespace kvrm {

using Json = nlohmann::ordered_json;

// A finite number, or "inf".
Json number_json(double value);
Json estimate_json(const Estimate& estimate);
// 16 hexadecimal digits.
std::string digest_text(std::uint64_t digest);

Json engine_json(const EngineResult& engine);

}  // namespace kvrm
