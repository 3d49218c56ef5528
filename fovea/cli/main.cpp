#include "fovea/cli/program.h"

int main(int argc, char** argv) { return fovea::cli::run_main(argc, argv); }
