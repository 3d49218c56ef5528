#pragma once

namespace fovea::cli {

/// The program: reads the words of a call, runs its command, prints an error as one line. Returns the exit
/// code: 0 ok, 1 other failure, 2 wrong call, 3 bad data, 4 bad model file, 5 numbers gone wrong, 6 lost
/// peer, 129 / 130 / 143 saved and stopped on a signal.
int run_main(int argc, char** argv);

}  // namespace fovea::cli
