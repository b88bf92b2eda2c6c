// The program `kvrm`: the composition root's registry handed to the command line.
#include "harness/cli/cli.h"
#include "harness/driver/registry.h"

int main(int argc, char** argv) { return kvrm::run_cli(argc, argv, kvrm::make_registry()); }
