#include "fovea/train/log.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "fovea/core/error.h"
#include "fovea/io/file.h"
#include "fovea/io/json_text.h"
#include "fovea/io/utf8.h"

namespace fovea::train {
namespace {

using Json = nlohmann::ordered_json;

const char* number_name(double value) {
  return std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
}

void name_numbers(Json& value) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    value = number_name(value.get<double>());
  } else if (value.is_structured()) {
    for (Json& part : value) name_numbers(part);
  }
}

void read_numbers(Json& value) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    if (text == "NaN") {
      value = std::numeric_limits<double>::quiet_NaN();
    } else if (text == "Infinity") {
      value = infinity;
    } else if (text == "-Infinity") {
      value = -infinity;
    }
  } else if (value.is_structured()) {
    for (Json& part : value) read_numbers(part);
  }
}

bool is_record(const Json& value) {
  return value.is_object() && value.contains("step") && value["step"].is_number_integer();
}

// Calls visit(line with its newline, record) for every whole line.
template <class Visit>
void for_each_record(std::string_view text, const std::filesystem::path& path, const Visit& visit) {
  size_t number = 0;
  for (size_t end; (end = text.find('\n')) != std::string_view::npos; text.remove_prefix(end + 1)) {
    ++number;
    const std::string_view line = text.substr(0, end);
    Json record;
    if (io::json_text_fault(line).empty()) record = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!is_record(record)) {
      throw data_error(
          "log", fmt::format("every line is a JSON object with an integer \"step\"; found line {} of {}: "
                             "{}. Remove that line.",
                             number, path.string(), io::quote_text(line, 60)));
    }
    visit(text.substr(0, end + 1), std::move(record));
  }
}

// Drops lines after `resume_step` and whatever follows the last newline.
std::filesystem::path repaired(const std::filesystem::path& path, std::optional<int64_t> resume_step) {
  if (!std::filesystem::exists(path)) return path;
  const std::string text = io::read_file(path);
  std::string kept;
  for_each_record(text, path, [&](std::string_view line, const Json& record) {
    if (!resume_step || record["step"].get<int64_t>() <= *resume_step) kept += line;
  });
  if (kept.size() != text.size()) io::write_atomically(path, kept);
  return path;
}

}  // namespace

MetricsLog::MetricsLog(const std::filesystem::path& path, std::optional<int64_t> resume_step)
    : file_(repaired(path, resume_step)) {}

void MetricsLog::write(const Json& record) {
  if (!is_record(record))
    throw usage_error("log", "a record is an object with an integer \"step\"; found none.");
  Json plain = record;
  name_numbers(plain);
  file_.append(plain.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

std::vector<Json> read_log(const std::filesystem::path& path) {
  std::vector<Json> records;
  for_each_record(io::read_file(path), path, [&](std::string_view, Json record) {
    read_numbers(record);
    records.push_back(std::move(record));
  });
  return records;
}

}  // namespace fovea::train
