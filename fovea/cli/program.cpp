#include "fovea/cli/program.h"

#include "fovea/cli/child.h"
#include "fovea/cli/commands.h"
#include "fovea/cli/console.h"
#include "fovea/cli/failure.h"
#include "fovea/cli/parser.h"
#include "fovea/cli/signals.h"

namespace fovea::cli {

Command program() {
  return {.name = "fovea",
          .help = "Attention networks: train them, run them, see what they look at.",
          .example = "fovea train classify --model fashion_vit --data fashion_mnist --output runs/vit",
          .commands = {list_command(), summary_command(), train_command(), eval_command(), predict_command(),
                       explain_command(), run_command(), show_command(), report_command(), sweep_command(),
                       bench_command(), doctor_command(), completion_command()}};
}

int run_main(int argc, char** argv) {
  open_standard_files();
  ignore_write_signals();
  end_with_parent();
  try {
    const Command root = program();
    std::vector<std::string> words(argv, argv + argc);
    if (words.empty()) words = {root.name};
    const Parsed parsed = parse(root, words);
    if (parsed.command != nullptr) return parsed.command->run(parsed.call);
    print(parsed.text);
    return 0;
  } catch (...) {
    const Failure failure = describe_failure(std::current_exception());
    note(failure.line);
    return failure.exit_code;
  }
}

}  // namespace fovea::cli
