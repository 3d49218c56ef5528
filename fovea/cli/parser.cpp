#include "fovea/cli/parser.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cstddef>
#include <list>
#include <string_view>

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/core/version.h"

namespace fovea::cli {
namespace {

// A command with CLI11's view of it and the values that CLI11 writes while it parses.
struct Bound {
  const Command* command;
  CLI::App* app;
  std::string path;
  std::list<std::vector<std::string>> values = {};
  std::vector<CLI::Option*> options = {};
  std::list<Bound> below = {};
};

void bind_argument(Bound& bound, const Argument& argument) {
  bound.values.emplace_back();
  auto& values = bound.values.back();
  CLI::Option* option = nullptr;
  if (argument.is_switch()) {
    // `--json=false` would count as given.
    option = bound.app->add_flag(argument.name, argument.help)->disable_flag_override();
  } else {
    option = bound.app->add_option(argument.name, values, argument.help);
    // One value a flag: `--set a=1 FILE` must leave FILE to the positionals.
    const bool list = argument.repeated && !argument.is_flag();
    option->expected(list ? -1 : 1)->allow_extra_args(list);
    option->multi_option_policy(argument.repeated ? CLI::MultiOptionPolicy::TakeAll
                                                  : CLI::MultiOptionPolicy::TakeLast);
    option->type_name(argument.is_flag() ? argument.value : "");
  }
  bound.options.push_back(option);
}

void bind_command(Bound& bound) {
  CLI::App& app = *bound.app;
  app.set_help_flag("-h,--help", "print this help and exit");
  // Unknown words are kept, so that the message about them is ours.
  app.allow_extras();
  if (!bound.command->example.empty()) app.footer("Example:\n  " + bound.command->example);
  for (const auto& argument : bound.command->arguments) bind_argument(bound, argument);
  for (const auto& command : bound.command->commands) {
    bound.below.push_back({.command = &command,
                           .app = app.add_subcommand(command.name, command.help),
                           .path = bound.path + " " + command.name});
    bind_command(bound.below.back());
  }
}

const Bound& chosen(const Bound& bound) {
  for (const auto& below : bound.below) {
    if (below.app->parsed()) return chosen(below);
  }
  return bound;
}

std::vector<std::string> names_below(const Command& command) {
  std::vector<std::string> names;
  for (const auto& below : command.commands) names.push_back(below.name);
  return names;
}

std::vector<std::string> flag_names(const Command& command) {
  std::vector<std::string> names = {"--help"};
  for (const auto& argument : command.arguments) {
    if (argument.is_flag()) names.push_back(argument.name);
  }
  return names;
}

// For --help only: while parsing, what is missing is reported by read_values().
void mark_required(Bound& bound) {
  for (size_t i = 0; i < bound.options.size(); ++i)
    bound.options[i]->required(bound.command->arguments[i].required);
  for (auto& below : bound.below) mark_required(below);
}

[[noreturn]] void refuse_extra(const Bound& bound, const std::string& word) {
  const std::string see = fmt::format("See '{} --help'.", bound.path);
  if (word.size() > 1 && word.starts_with("-")) {
    const std::string flag = word.substr(0, word.find('='));
    throw usage_error(bound.path, fmt::format("unknown flag '{}'. {}", flag,
                                              suggest_name(flag, flag_names(*bound.command), see)));
  }
  if (!bound.command->commands.empty()) {
    const auto names = names_below(*bound.command);
    throw usage_error(
        bound.path,
        fmt::format("unknown command '{}'. {}", word,
                    suggest_name(word, names, fmt::format("Choose one of: {}.", fmt::join(names, ", ")))));
  }
  throw usage_error(bound.path, fmt::format("takes no further argument; found '{}'. {}", word, see));
}

void check_names(const Bound& bound, const Argument& argument, const std::vector<std::string>& values) {
  if (!argument.only_names || !argument.names) return;
  const auto names = argument.names();
  for (const auto& value : values) {
    if (std::find(names.begin(), names.end(), value) != names.end()) continue;
    throw usage_error(
        bound.path, fmt::format("{} must be one of {}; found '{}'. {}", argument.name, fmt::join(names, ", "),
                                value, suggest_name(value, names, "Choose one of these.")));
  }
}

bool ends_in(std::string_view name, std::string_view ending) {
  const auto small = [](unsigned char c) { return static_cast<char>(std::tolower(c)); };
  return name.size() >= ending.size() &&
         std::equal(ending.begin(), ending.end(), name.end() - static_cast<std::ptrdiff_t>(ending.size()),
                    [&](char wanted, char found) { return wanted == small(found); });
}

// A file is written in one format, whatever its name promises.
void check_ending(const Bound& bound, const Argument& argument, const std::vector<std::string>& values) {
  for (const auto& value : values) {
    if (ends_in(value, argument.ending)) continue;
    throw usage_error(bound.path, fmt::format("{} must end in {}", argument.name, argument.ending),
                      "'" + value + "'", fmt::format("Name a {} file.", argument.ending));
  }
}

Call read_values(const Bound& bound) {
  Call call(bound.path);
  auto values = bound.values.begin();
  for (size_t i = 0; i < bound.options.size(); ++i, ++values) {
    const auto& argument = bound.command->arguments[i];
    if (bound.options[i]->count() > 0) {
      check_names(bound, argument, *values);
      check_ending(bound, argument, *values);
      call.add(argument.name, *values);
    } else if (argument.required) {
      throw usage_error(bound.path, fmt::format("{} is needed: {}. See '{} --help'.", argument.name,
                                                argument.help, bound.path));
    }
  }
  return call;
}

// CLI11 names a switch without its dashes when it was given a value.
std::string describe(const CLI::ParseError& error) {
  const std::string text = error.what();
  const size_t name = text.find(" was given a disallowed flag override");
  return name == std::string::npos ? text : "--" + text.substr(0, name) + " is a switch and takes no value";
}

}  // namespace

Parsed parse(const Command& root, const std::vector<std::string>& words) {
  CLI::App app(root.help, root.name);
  Bound bound{.command = &root, .app = &app, .path = root.name};
  app.set_version_flag("--version", fmt::format("fovea {}", kVersion));
  bind_command(bound);
  try {
    // CLI11 takes the words from the back and without the program's name.
    std::vector<std::string> reversed(words.rbegin(), words.rend() - 1);
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    mark_required(bound);
    return {.text = app.help()};
  } catch (const CLI::CallForVersion& version) {
    return {.text = std::string(version.what()) + "\n"};
  } catch (const CLI::ParseError& error) {
    const Bound& at = chosen(bound);
    throw usage_error(at.path, fmt::format("{}. See '{} --help'.", describe(error), at.path));
  }
  const Bound& at = chosen(bound);
  // remaining() of the root lists those of the commands below too, in the order of the levels.
  const auto rest = app.remaining(true);
  if (!rest.empty()) refuse_extra(at, rest.front());
  if (!at.command->run) {
    throw usage_error(at.path, fmt::format("a command is needed: {}. See '{} --help'.",
                                           fmt::join(names_below(*at.command), ", "), at.path));
  }
  return {.command = at.command, .call = read_values(at), .text = {}};
}

}  // namespace fovea::cli
