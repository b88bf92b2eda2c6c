// libFuzzer's entry for the one target that the build names.
#include <cstddef>

#include "property_tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  kvrm::KVRM_FUZZ_TARGET({data, size});
  return 0;
}
