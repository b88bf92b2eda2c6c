// Planted faults: one expression as it is and as a mutant has it. It decides nothing about which
// tests must notice; that is property_tests/mutations/mutants.md, where every name stands.
//
//   if (fence <= KVRM_MUTATE(pager_fence_early, epoch, epoch + 1)) ...
//
// In every ordinary build this is `(epoch)`: no name, no branch, no string is left of the rest. In
// a build with the option KVRM_MUTANTS (preset `mutants`) the environment variable KVRM_MUTANT
// chooses the one mutant that is on, and the program that runs without it behaves as an ordinary
// one. Both expressions have the same type, `void` included; commas in them stand in parentheses.
// Not inside KVRM_CHECK, whose text is in every program.
#pragma once

#ifdef KVRM_MUTANTS

#include <cstdint>
#include <string_view>
#include <type_traits>

namespace kvrm::mutation {

// FNV-1a: a site costs one comparison with a constant.
constexpr std::uint64_t name_hash(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

extern const std::uint64_t chosen_mutant;  // the name's hash; that of no name where none is chosen

template <std::uint64_t kName>
constexpr bool is_chosen() {
  return !std::is_constant_evaluated() && chosen_mutant == kName;
}

}  // namespace kvrm::mutation

#define KVRM_MUTATE(name, original, mutated) \
  (::kvrm::mutation::is_chosen<::kvrm::mutation::name_hash(#name)>() ? (mutated) : (original))

#else

#define KVRM_MUTATE(name, original, mutated) (original)

#endif
