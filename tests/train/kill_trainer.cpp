// Trains the small network into a run folder: what train_test kills.   kill_trainer FOLDER STEPS
// Writes the number of each step to stdout when it is done.
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "fovea/core/error.h"
#include "fovea/train/run_folder.h"
#include "small_run.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    const nlohmann::json keys = {
        {"max_steps", std::atoi(argv[2])}, {"checkpoint_every", 3}, {"ema_decay", 0.9}};
    fovea::train::RunFolder folder(argv[1], {true, 2});
    fovea::train::TrainCallbacks callbacks;
    callbacks.on_step = [](const fovea::train::StepReport& report) {
      std::printf("%lld\n", static_cast<long long>(report.step));
      std::fflush(stdout);
    };
    callbacks.on_note = [](const std::string& line) { std::cerr << line << "\n"; };
    fovea::train::Trainer(fovea::train::small_parts(keys), folder, callbacks).run();
  } catch (const fovea::Error& error) {
    std::cerr << error.what() << "\n";
    return error.exit_code();
  }
  return 0;
}
