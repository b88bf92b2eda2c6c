// The shadow of far history: exact attention with the same query, how far the output is from it,
// and how far it can be.
//
// The bound. For a query q and an entry of n positions with keys k_i and values v_i, let k and v be
// the stored means, rho_k and rho_v the radii around them, s = 1 / sqrt(d), and
//   r = s |q| rho_k            no logit s q.k_i differs by more from s q.k
//   e = s |q| |mean k_i - k|   the mean logit is off by no more: the rounding of k
//   g = |mean v_i - v|         likewise of v
// With Z = sum exp(s q.k_i) and Z' = n exp(s q.k), Jensen's inequality on the true mean gives
// Z >= Z' exp(-e), and convexity over [-r, r] gives Z <= Z' (cosh r + (e / r) sinh r)
// <= Z' cosh r exp(e). So log(Z / Z') lies in [-e, log cosh r + e], and is 0 for exact positions.
// The entry's own output differs from the mean of v_i by at most tanh(r / 2) 2 rho_v: its weights
// against uniform ones have log ratios within 2 r of one another, so a total variation of at most
// tanh(2 r / 4), and its values lie within 2 rho_v of one another. From v it differs by g more.
// With p the exact mass of all summarised positions, R, e and g the largest over entries, D the
// largest 2 rho_v, and E the diameter of {output over the exact positions alone, all v}, the error
// of the whole output is at most
//   p (tanh(R / 2) D + g) + tanh((log cosh R + 2 e) / 4) E
// the second term being the total variation between the masses that exact positions and entries
// have and those that they should have, times the diameter of what they are masses of. Without
// rounding e = g = 0 and this is DESIGN 9's.
#pragma once

#include <span>

#include "harness/contract/engine.h"
#include "property_tests/oracle/reference_far_history.h"

namespace kvrm {

struct FarComparison {
  double error = 0;  // L2 norm of the output's difference from exact attention
  double bound = 0;
  double noise = 0;  // what the error may be by double precision alone
};

// `output` is attention of `query` as `far` has it, over at least one entry; `history` is every
// position that the query attends, none summarised.
FarComparison compare_with_exact(std::span<const double> query, const Attended& history,
                                 const ReferenceFarHistory& far, std::span<const double> output);

void count_comparison(const FarComparison& comparison, ShadowError& shadow);

}  // namespace kvrm
