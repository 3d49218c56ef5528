#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace fovea::cli {

/// What the shell may offer for a value that has no list of names.
enum class Completes { nothing, files, folders };

/// One flag (`--model`) or positional (`CHECKPOINT`) of a command.
struct Argument {
  std::string name;
  /// What stands for the value in --help, as `NAME`; empty for a switch.
  std::string value = {};
  std::string help = {};
  bool required = false;
  bool repeated = false;
  Completes completes = Completes::nothing;
  /// The names that the value may have. Asked when needed, since registries are not free to walk.
  std::function<std::vector<std::string>()> names = {};
  /// Whether a value outside `names` is refused here; otherwise they are only offered by the shell.
  bool only_names = false;
  /// What a file's name must end in, as `.png`, in small letters or not; empty: anything.
  std::string ending = {};

  bool is_flag() const { return name.starts_with("-"); }
  bool is_switch() const { return value.empty() && is_flag(); }
};

/// The values that one call gave to a command's arguments.
class Call {
 public:
  explicit Call(std::string command) : command_(std::move(command)) {}

  /// The words that chose the command, as `fovea train classify`: the `where` of its errors.
  const std::string& command() const { return command_; }
  bool has(const std::string& name) const { return values_.contains(name); }
  /// The last value given.
  std::optional<std::string> get(const std::string& name) const;
  std::string get(const std::string& name, const std::string& otherwise) const;
  /// The value as a whole number >= `least`. Throws Error (usage).
  std::optional<int64_t> get_int(const std::string& name, int64_t least) const;
  /// Every value given, in order.
  std::vector<std::string> all(const std::string& name) const;
  /// Each of them as get_int() reads it.
  std::vector<int64_t> all_ints(const std::string& name, int64_t least) const;
  void add(const std::string& name, std::vector<std::string> values);

 private:
  int64_t whole_number(const std::string& name, const std::string& text, int64_t least) const;

  std::string command_;
  std::map<std::string, std::vector<std::string>> values_;
};

/// A command: either runs, or has commands below it. The parser, --help and shell completion read this one
/// table.
struct Command {
  std::string name;
  std::string help;
  std::string example = {};
  std::vector<Argument> arguments = {};
  /// Returns the exit code.
  std::function<int(const Call&)> run = {};
  std::vector<Command> commands = {};
};

/// The names of a registry's entries.
template <class Entries>
std::vector<std::string> names_of(const Entries& entries) {
  std::vector<std::string> names;
  for (const auto& entry : entries) names.push_back(entry.name);
  return names;
}

/// `--json`, which every command with a result has.
Argument json_flag();
/// `--set key=value`, repeatable. `keys` are those that the shell offers.
Argument set_flag(std::string help, std::function<std::vector<std::string>()> keys);
/// `--data NAME[:PATH]` with its help.
Argument data_flag(std::string help);
/// `--threads N` and `--device NAME`.
Argument threads_flag();
Argument device_flag();
/// CHECKPOINT, and one IMAGE or more.
Argument checkpoint_argument();
Argument images_argument();
/// `--output DIR` with its help.
Argument output_flag(std::string help, bool required);
/// Its folder. Throws Error (usage) where none is named.
std::string output_folder(const Call& call);

}  // namespace fovea::cli
