#pragma once
#include <string>
#include <vector>

#include "fovea/cli/command.h"

namespace fovea::cli {

/// What the words of a call mean.
struct Parsed {
  /// The command to run; null when `text` is the whole answer (--help, --version).
  const Command* command = nullptr;
  Call call{""};
  std::string text;
};

/// Reads the words of a call, `words[0]` being the program's name.
/// Throws Error (usage) for an unknown command or flag, naming the nearest one, for a missing or surplus
/// value. The only file that includes CLI11, which costs eight seconds of compilation.
Parsed parse(const Command& root, const std::vector<std::string>& words);

}  // namespace fovea::cli
