#include "fovea/cli/progress_line.h"

#include <cstdio>

#include "fovea/cli/console.h"

namespace fovea::cli {
namespace {

using namespace std::chrono_literals;
constexpr auto kTerminalPause = 100ms;
constexpr auto kPlainPause = 5s;

}  // namespace

ProgressLine::ProgressLine() : terminal_(terminal()), next_(Clock::now()) {}

ProgressLine::~ProgressLine() { wipe(); }

void ProgressLine::wipe() {
  // Spaces rather than an escape sequence: every terminal knows them.
  if (drawn_) draw("\r" + std::string(static_cast<size_t>(terminal_columns() - 1), ' ') + "\r");
  drawn_ = false;
}

void ProgressLine::show(const train::Progress& progress) {
  const auto now = Clock::now();
  const bool last = progress.total > 0 && progress.step >= progress.total;
  if (now < next_ && !last) return;
  next_ = now + (terminal_ ? Clock::duration(kTerminalPause) : Clock::duration(kPlainPause));
  if (!terminal_) {
    note(train::plain_line(progress));
    return;
  }
  // One column is left free: writing the last one moves some terminals to the next line.
  const int width = terminal_columns() - 1;
  std::string line = train::terminal_line(progress, width);
  line.resize(static_cast<size_t>(width), ' ');
  draw("\r" + line);
  drawn_ = true;
}

void ProgressLine::say(std::string_view line) {
  wipe();
  note(line);
}

}  // namespace fovea::cli
