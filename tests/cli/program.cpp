#include "program.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

extern char** environ;

namespace fovea::cli_test {
namespace {

std::string read_text(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::filesystem::path fresh_file() {
  std::string name = (std::filesystem::temp_directory_path() / "fovea-cli-XXXXXX").string();
  const int file = mkstemp(name.data());
  if (file < 0) throw std::runtime_error("no temporary file");
  close(file);
  return name;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (auto& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

std::vector<std::string> environment_with(const std::vector<std::string>& added) {
  std::vector<std::string> all = added;
  // One thread: the machine that runs the tests runs others too.
  all.emplace_back("OMP_NUM_THREADS=1");
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text = *variable;
    const std::string name = text.substr(0, text.find('=') + 1);
    const auto same = [&](const std::string& other) { return other.starts_with(name); };
    if (std::none_of(all.begin(), all.end(), same)) all.push_back(text);
  }
  return all;
}

// A child inherits its limits; posix_spawn cannot set them.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(uint64_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit now = before_;
    if (bytes > 0) now.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &now);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

// A pipe whose reader is gone.
int dead_pipe() {
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("no pipe");
  close(ends[0]);
  return ends[1];
}

// The program's end of a terminal is opened by its name; this one is ours.
int open_terminal(int columns) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0)
    throw std::runtime_error("no terminal");
  winsize size{};
  size.ws_row = 24;
  size.ws_col = static_cast<unsigned short>(columns);
  ioctl(terminal, TIOCSWINSZ, &size);
  return terminal;
}

// What a terminal was shown, up to its buffer's size.
std::string shown_on(int terminal) {
  std::string shown(1 << 16, '\0');
  fcntl(terminal, F_SETFL, O_NONBLOCK);
  const ssize_t length = read(terminal, shown.data(), shown.size());
  shown.resize(length > 0 ? static_cast<size_t>(length) : 0);
  return shown;
}

}  // namespace

Running::Running(const std::vector<std::string>& arguments, const CallOptions& options)
    : out_(fresh_file()), err_(fresh_file()) {
  std::vector<std::string> words = {FOVEA_PROGRAM};
  if (!options.shell.empty()) words = {"/bin/sh", "-c", options.shell, "sh", FOVEA_PROGRAM};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment = environment_with(options.environment);
  const std::string out = options.stdout_to.empty() ? out_.string() : options.stdout_to;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  const int dead = options.closed_stdout ? dead_pipe() : -1;
  if (dead >= 0) {
    posix_spawn_file_actions_adddup2(&actions, dead, 1);
  } else {
    posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY, 0);
  }
  if (options.terminal_columns > 0) terminal_ = open_terminal(options.terminal_columns);
  const std::string err = terminal_ >= 0 ? ptsname(terminal_) : err_.string();
  posix_spawn_file_actions_addopen(&actions, 2, err.c_str(),
                                   terminal_ >= 0 ? O_WRONLY | O_NOCTTY : O_WRONLY | O_APPEND, 0);
  const FileSizeLimit limit(options.largest_file);
  const int fault = posix_spawn(&process_, words.front().c_str(), &actions, nullptr, pointers(words).data(),
                                pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  if (dead >= 0) close(dead);
  if (fault != 0) throw std::runtime_error("cannot start " FOVEA_PROGRAM);
}

Running::~Running() {
  if (process_ > 0) {
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }
  if (terminal_ >= 0) close(terminal_);
  std::error_code ignored;
  std::filesystem::remove(out_, ignored);
  std::filesystem::remove(err_, ignored);
}

void Running::send(int signal) const { kill(process_, signal); }

bool Running::wait_until(const std::function<bool()>& ready, double seconds) const {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (!ready()) {
    siginfo_t info{};
    waitid(P_PID, static_cast<id_t>(process_), &info, WEXITED | WNOHANG | WNOWAIT);
    if (info.si_pid != 0 || std::chrono::steady_clock::now() > end) return ready();
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

Ended Running::wait() {
  int status = 0;
  waitpid(process_, &status, 0);
  process_ = -1;
  Ended ended;
  if (WIFEXITED(status)) ended.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) ended.signal = WTERMSIG(status);
  ended.out = read_text(out_);
  ended.err = terminal_ >= 0 ? shown_on(terminal_) : read_text(err_);
  return ended;
}

Ended run_fovea(const std::vector<std::string>& arguments, const CallOptions& options) {
  return Running(arguments, options).wait();
}

::testing::AssertionResult Ended::is_one_line_with(const std::vector<std::string>& parts) const {
  if (std::count(err.begin(), err.end(), '\n') != 1 || err.back() != '\n') {
    return ::testing::AssertionFailure() << "not one line: '" << err << "'";
  }
  for (const auto& part : parts) {
    if (err.find(part) == std::string::npos) {
      return ::testing::AssertionFailure() << "'" << part << "' is not in: " << err;
    }
  }
  return ::testing::AssertionSuccess();
}

nlohmann::json Ended::json() const {
  auto parsed = nlohmann::json::parse(out, nullptr, false);
  EXPECT_FALSE(parsed.is_discarded()) << "no JSON: '" << out << "', stderr '" << err << "'";
  return parsed;
}

}  // namespace fovea::cli_test
