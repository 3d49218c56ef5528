#include "fovea/cli/console.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "fovea/core/error.h"

namespace fovea::cli {
namespace {

// Returns errno of the failed write, or 0.
int write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return 0;
}

// A terminal that hung up answers EIO, and no longer says that it is one.
bool is_device(int file) {
  struct stat status {};
  return fstat(file, &status) == 0 && S_ISCHR(status.st_mode);
}

}  // namespace

void open_standard_files() {
  for (const int file : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(file, F_GETFD) >= 0 || errno != EBADF) continue;
    // The lowest free number is this one, as those below it are open by now.
    if (::open("/dev/null", file == STDIN_FILENO ? O_RDWR : O_RDONLY) < 0) return;
  }
}

void print(std::string_view text) {
  const int fault = write_all(STDOUT_FILENO, text);
  if (fault == 0 || fault == EPIPE || (fault == EIO && is_device(STDOUT_FILENO))) return;
  if (fault == EBADF) {
    throw Error(ErrorKind::other, "stdout",
                "is closed, so that the result has nowhere to go. Send it to a file or to /dev/null.");
  }
  throw Error(ErrorKind::other, "stdout",
              fmt::format("cannot be written: {}. Send the result elsewhere.", std::strerror(fault)));
}

void print_json(const nlohmann::ordered_json& result) {
  print(result.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

void note(std::string_view text) {
  std::string line(text);
  line += '\n';
  write_all(STDERR_FILENO, line);
}

void draw(std::string_view text) { write_all(STDERR_FILENO, text); }

bool terminal() { return isatty(STDERR_FILENO) != 0; }

int terminal_columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

void make_folder(const std::filesystem::path& folder) {
  std::error_code fault;
  std::filesystem::create_directories(folder, fault);
  if (fault) {
    throw Error(ErrorKind::other, folder.string(),
                fmt::format("the folder cannot be made: {}. Give --output another place.", fault.message()));
  }
}

std::string one_line(std::string_view text) {
  std::string line;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      if (!line.empty() && line.back() != ' ') line += ' ';
    } else if (byte < 0x20 || byte == 0x7f) {
      line += '?';
    } else {
      line += c;
    }
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

}  // namespace fovea::cli
