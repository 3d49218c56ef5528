#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace fovea::cli {

/// Puts /dev/null where the caller closed stdin, stdout or stderr; otherwise the next file that is opened
/// would get that number, and messages would go into it. Writing there still fails, so that print() can tell.
void open_standard_files();

/// Writes a result to stdout. A reader that went away (EPIPE, a terminal that was closed) is no error; a full
/// disk, and a stdout that the caller closed, are: Error (other).
void print(std::string_view text);

/// A result as JSON on one line. Names that are not UTF-8 (files, folders) lose the bytes that are not.
void print_json(const nlohmann::ordered_json& result);

/// Writes `text` and a line end to stderr; failures are ignored, since there is nowhere to tell them.
void note(std::string_view text);

/// Writes `text` as it is to stderr, for a line that is redrawn; failures are ignored.
void draw(std::string_view text);

/// Whether stderr is a terminal on which a line may be redrawn.
bool terminal();

/// Columns of the terminal at stderr; 80 when it does not say.
int terminal_columns();

/// Makes an output folder and those above it. Throws Error (other) saying why it cannot be.
void make_folder(const std::filesystem::path& folder);

/// `text` without line ends and control characters, so that a file's name cannot break the one-line rule.
std::string one_line(std::string_view text);

}  // namespace fovea::cli
