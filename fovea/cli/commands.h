#pragma once
#include "fovea/cli/command.h"

namespace fovea::cli {

// Each is one file of this folder.
Command list_command();
Command summary_command();
Command train_command();
Command eval_command();
Command predict_command();
Command explain_command();
Command run_command();
Command show_command();
Command report_command();
Command sweep_command();
Command bench_command();
Command doctor_command();
Command completion_command();

/// The whole program: what the parser, --help and shell completion read.
Command program();

}  // namespace fovea::cli
