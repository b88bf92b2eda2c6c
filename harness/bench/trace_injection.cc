// Apart from trace_receiver.cc: NVTX's headers declare this name weak, and it must not be here.
#include "harness/bench/trace_injection.h"

extern "C" {
extern int (*InitializeInjectionNvtx2_fnptr)(const void* (*get_table)(std::uint32_t));
int (*InitializeInjectionNvtx2_fnptr)(const void* (*)(std::uint32_t)) = kvrm::receive_ranges;
}
