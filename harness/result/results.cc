#include "harness/result/results.h"

namespace kvrm {

std::string_view run_status_name(RunStatus status) {
  switch (status) {
    case RunStatus::verified:
      return "verified";
    case RunStatus::approximate:
      return "approximate";
    case RunStatus::modelled:
      return "modelled";
    case RunStatus::unchecked:
      return "unchecked";
    case RunStatus::incorrect:
      return "incorrect";
    case RunStatus::invalid:
      return "invalid";
    case RunStatus::incomplete:
      return "incomplete";
  }
  return "unknown";
}

bool carries_metrics(RunStatus status) {
  return status == RunStatus::verified || status == RunStatus::approximate ||
         status == RunStatus::modelled || status == RunStatus::unchecked;
}

}  // namespace kvrm
