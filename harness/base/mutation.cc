#include "harness/base/mutation.h"

#include <cstdlib>

namespace kvrm::mutation {
namespace {

std::uint64_t chosen_by_environment() {
  const char* name = std::getenv("KVRM_MUTANT");
  return name_hash(name == nullptr ? "" : name);
}

}  // namespace

const std::uint64_t chosen_mutant = chosen_by_environment();

}  // namespace kvrm::mutation
