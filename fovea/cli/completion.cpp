#include "fovea/cli/completion.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "fovea/cli/commands.h"
#include "fovea/cli/console.h"

namespace fovea::cli {
namespace {

using Visit = std::function<void(const Command&, const std::string& path)>;

void walk(const Command& command, const std::string& path, const Visit& visit) {
  visit(command, path);
  for (const auto& below : command.commands) walk(below, path + " " + below.name, visit);
}

// What may follow `path`, the commands below it and its flags.
std::string words_after(const Command& command) {
  std::vector<std::string> words;
  for (const auto& below : command.commands) words.push_back(below.name);
  for (const auto& argument : command.arguments) {
    if (argument.is_flag()) words.push_back(argument.name);
    if (!argument.is_flag() && argument.names) {
      const auto names = argument.names();
      words.insert(words.end(), names.begin(), names.end());
    }
  }
  words.push_back("--help");
  return fmt::format("{}", fmt::join(words, " "));
}

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

// Brackets and colons end a description in zsh's _arguments.
std::string zsh_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

std::string zsh_action(const Argument& argument) {
  if (argument.names) {
    const auto names = argument.names();
    // No blank after `lr=`.
    const bool keys = !names.empty() && names.front().ends_with("=");
    const std::string list = fmt::format("{}", fmt::join(names, " "));
    return keys ? "{compadd -S \"\" - " + list + "}" : "(" + list + ")";
  }
  if (argument.completes == Completes::folders) return "_files -/";
  return argument.completes == Completes::files ? "_files" : " ";
}

std::string zsh_spec(const Argument& argument) {
  if (!argument.is_flag()) {
    return quoted(fmt::format("{}:{}:{}", argument.repeated ? "*" : "", argument.name, zsh_action(argument)));
  }
  const std::string head =
      fmt::format("{}{}[{}]", argument.repeated ? "*" : "", argument.name, zsh_text(argument.help));
  if (argument.is_switch()) return quoted(head);
  return quoted(fmt::format("{}:{}:{}", head, argument.value, zsh_action(argument)));
}

}  // namespace

std::string bash_completion(const Command& root) {
  std::string paths, values, words;
  walk(root, root.name, [&](const Command& command, const std::string& path) {
    if (path != root.name) paths += fmt::format("      {}) at=\"$at $word\" ;;\n", quoted(path));
    words += fmt::format("    {}) words={} ;;\n", quoted(path), quoted(words_after(command)));
    for (const auto& argument : command.arguments) {
      if (!argument.is_flag() || argument.is_switch()) continue;
      const std::string offered = argument.names ? fmt::format("{}", fmt::join(argument.names(), " ")) : "";
      values +=
          fmt::format("    {}) values={}; takes=1 ;;\n", quoted(path + " " + argument.name), quoted(offered));
    }
  });
  return fmt::format(R"(# bash completion of {0}: source <({0} completion bash)
_{0}() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} at={0} word words= values= takes=
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$at $word" in
{1}    esac
  done
  case "$at $prev" in
{2}  esac
  if [[ -n $takes ]]; then
    COMPREPLY=($(compgen -W "$values" -- "$cur"))
    [[ ${{COMPREPLY[0]-}} == *= ]] && compopt -o nospace 2>/dev/null
    return
  fi
  case "$at" in
{3}  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -o default -F _{0} {0}
)",
                     root.name, paths, values, words);
}

std::string zsh_completion(const Command& root) {
  std::string cases;
  walk(root, root.name, [&](const Command& command, const std::string& path) {
    std::string body;
    if (!command.commands.empty()) {
      for (const auto& below : command.commands) {
        body += " " + quoted(below.name + ":" + zsh_text(below.help));
      }
      cases += fmt::format("    {}) local -a below=({}); _describe command below ;;\n", quoted(path), body);
      return;
    }
    for (const auto& argument : command.arguments) body += " " + zsh_spec(argument);
    cases += fmt::format("    {}) _arguments{} '--help[print this help and exit]' ;;\n", quoted(path), body);
  });
  std::string paths;
  walk(root, root.name, [&](const Command&, const std::string& path) {
    if (path != root.name) paths += (paths.empty() ? "" : "|") + quoted(path);
  });
  return fmt::format(R"(#compdef {0}
# zsh completion of {0}: {0} completion zsh > "${{fpath[1]}}/_{0}"
_{0}() {{
  local at={0} word
  local -i taken=1
  for word in "${{(@)words[2,CURRENT-1]}}"; do
    case "$at $word" in
      {1}) at="$at $word"; taken+=1 ;;
      *) break ;;
    esac
  done
  words=("${{(@)words[taken,-1]}}")
  CURRENT=$((CURRENT - taken + 1))
  case "$at" in
{2}  esac
}}
compdef _{0} {0}
)",
                     root.name, paths, cases);
}

std::string fish_completion(const Command& root) {
  std::string out = fmt::format("# fish completion of {0}: {0} completion fish | source\n", root.name);
  out += fmt::format(
      "function __{0}_at\n"
      "    set -l words (commandline -opc)\n"
      "    set -l path\n"
      "    for word in $words\n"
      "        string match -q -- '-*' $word; and break\n"
      "        set -a path (basename -- $word)\n"
      "        test (count $path) -ge (count $argv); and break\n"
      "    end\n"
      "    test \"$at\" = \"$argv\"\n"
      "end\n",
      root.name);
  walk(root, root.name, [&](const Command& command, const std::string& path) {
    const std::string at =
        fmt::format("complete -c {} -n {}", root.name, quoted(fmt::format("__{}_at {}", root.name, path)));
    for (const auto& below : command.commands) {
      out += fmt::format("{} -f -a {} -d {}\n", at, quoted(below.name), quoted(below.help));
    }
    for (const auto& argument : command.arguments) {
      const std::string offered = argument.names ? fmt::format("{}", fmt::join(argument.names(), " ")) : "";
      if (!argument.is_flag()) {
        if (!offered.empty())
          out += fmt::format("{} -a {} -d {}\n", at, quoted(offered), quoted(argument.help));
        continue;
      }
      out += fmt::format("{} -l {} -d {}", at, argument.name.substr(2), quoted(argument.help));
      if (!argument.is_switch()) out += " -r";
      if (!offered.empty()) out += " -f -a " + quoted(offered);
      out += "\n";
    }
  });
  return out;
}

Command completion_command() {
  return {.name = "completion",
          .help = "print the completion script of a shell",
          .example = "source <(fovea completion bash)",
          .arguments = {{.name = "SHELL",
                         .value = "",
                         .help = "bash, zsh or fish",
                         .required = true,
                         .names =
                             [] {
                               return std::vector<std::string>{"bash", "zsh", "fish"};
                             },
                         .only_names = true}},
          .run = [](const Call& call) {
            const auto shell = call.get("SHELL");
            const Command root = program();
            print(shell == "bash"  ? bash_completion(root)
                  : shell == "zsh" ? zsh_completion(root)
                                   : fish_completion(root));
            return 0;
          }};
}

}  // namespace fovea::cli
