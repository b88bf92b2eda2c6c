#include "property_tests/oracle/ruled_attention.h"

#include "property_tests/oracle/far_shadow.h"

namespace kvrm {

RuledAttention::RuledAttention(const Attended& history, const ReferenceFarHistory& far)
    : history_(history), far_(far) {
  if (!far.entries().empty()) ruled_ = attended_with_far_history(far, history);
}

void RuledAttention::attend(std::span<const double> query, ShadowError* shadow,
                            std::span<double> output) {
  if (far_.entries().empty()) return reference_attention(query, history_, weights_, output);
  reference_attention(query, ruled_.view(), weights_, output);
  if (shadow == nullptr) return;
  count_comparison(compare_with_exact(query, history_, far_, output), *shadow);
}

}  // namespace kvrm
