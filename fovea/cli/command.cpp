#include "fovea/cli/command.h"

#include <fmt/format.h>

#include <charconv>

#include "fovea/core/error.h"
#include "fovea/data/open.h"

namespace fovea::cli {

std::optional<std::string> Call::get(const std::string& name) const {
  const auto found = values_.find(name);
  if (found == values_.end() || found->second.empty()) return std::nullopt;
  return found->second.back();
}

std::string Call::get(const std::string& name, const std::string& otherwise) const {
  return get(name).value_or(otherwise);
}

int64_t Call::whole_number(const std::string& name, const std::string& text, int64_t least) const {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  // Not std::stoll: it accepts blanks and rests.
  const auto [stop, fault] = std::from_chars(text.data(), end, value);
  if (fault != std::errc{} || stop != end || value < least) {
    throw usage_error(
        command_, fmt::format("{} takes a whole number of at least {}; found '{}'. Give such a number.", name,
                              least, text));
  }
  return value;
}

std::optional<int64_t> Call::get_int(const std::string& name, int64_t least) const {
  const auto text = get(name);
  if (!text) return std::nullopt;
  return whole_number(name, *text, least);
}

std::vector<std::string> Call::all(const std::string& name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? std::vector<std::string>{} : found->second;
}

std::vector<int64_t> Call::all_ints(const std::string& name, int64_t least) const {
  std::vector<int64_t> numbers;
  for (const auto& text : all(name)) numbers.push_back(whole_number(name, text, least));
  return numbers;
}

void Call::add(const std::string& name, std::vector<std::string> values) {
  values_[name] = std::move(values);
}

Argument json_flag() { return {.name = "--json", .value = "", .help = "print one JSON object on stdout"}; }

Argument set_flag(std::string help, std::function<std::vector<std::string>()> keys) {
  const auto offered = [keys = std::move(keys)] {
    auto names = keys();
    for (auto& name : names) name += "=";
    return names;
  };
  return {.name = "--set", .value = "KEY=VALUE", .help = std::move(help), .repeated = true, .names = offered};
}

Argument data_flag(std::string help) {
  return {.name = "--data", .value = "NAME[:PATH]", .help = std::move(help), .names = [] {
            return names_of(data::data_entries());
          }};
}

Argument threads_flag() {
  return {.name = "--threads", .value = "N", .help = "threads of the computation (default: every core)"};
}

Argument device_flag() {
  return {.name = "--device", .value = "NAME", .help = "where to compute; this build has cpu only"};
}

Argument checkpoint_argument() {
  return {.name = "CHECKPOINT",
          .help = "run folder, checkpoint folder or .safetensors file",
          .required = true,
          .completes = Completes::files};
}

Argument images_argument() {
  return {.name = "IMAGE",
          .help = "JPEG or PNG of any size",
          .required = true,
          .repeated = true,
          .completes = Completes::files};
}

Argument output_flag(std::string help, bool required) {
  return {.name = "--output",
          .value = "DIR",
          .help = std::move(help),
          .required = required,
          .completes = Completes::folders};
}

std::string output_folder(const Call& call) {
  const auto folder = call.get("--output");
  if (folder && !folder->empty()) return *folder;
  throw usage_error(call.command(), "--output is needed: a folder. Give --output DIR.");
}

}  // namespace fovea::cli
