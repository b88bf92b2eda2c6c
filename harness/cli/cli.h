// The command line (DESIGN 17): parses arguments, runs one command, gives its exit code. Not the
// work itself.
#pragma once

#include "harness/driver/registry.h"

namespace kvrm {

int run_cli(int argc, char** argv, const Registry& registry);

}  // namespace kvrm
