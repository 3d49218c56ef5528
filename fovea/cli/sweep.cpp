#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "fovea/cli/child.h"
#include "fovea/cli/classify_settings.h"
#include "fovea/cli/commands.h"
#include "fovea/cli/console.h"
#include "fovea/cli/dry_run.h"
#include "fovea/cli/run.h"
#include "fovea/cli/settings.h"
#include "fovea/cli/signals.h"
#include "fovea/core/error.h"
#include "fovea/core/stopwatch.h"
#include "fovea/io/file.h"
#include "fovea/io/folder_lock.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/tasks/classify.h"
#include "fovea/train/log.h"

namespace fovea::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kTable = "sweep.json";

// The words of all runs: those of the call that are not the sweep's own.
std::vector<std::string> shared_words(const Call& call) {
  std::vector<std::string> words;
  for (const Argument& flag : classify_flags()) {
    if (flag.name == "--attention") continue;
    for (const auto& value : call.all(flag.name)) words.insert(words.end(), {flag.name, value});
  }
  return words;
}

std::string folder_of(const std::string& mechanism) {
  std::string name = mechanism;
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c) && c != '.' && c != '-'; },
      '_');
  return name;
}

std::vector<std::string> mechanisms_of(const Call& call) {
  const auto chosen = call.all("--attention");
  std::set<std::string> folders;
  for (const auto& text : chosen) {
    nn::parse_attention(text);
    if (folders.insert(folder_of(text)).second) continue;
    throw usage_error(call.command(), "each mechanism is given once", "'" + text + "' again",
                      "Leave one out.");
  }
  return chosen.empty() ? names_of(nn::attention_entries()) : chosen;
}

bool holds_texts(const ordered_json& list) {
  return list.is_array() &&
         std::all_of(list.begin(), list.end(), [](const ordered_json& item) { return item.is_string(); });
}

// The flags of the runs, each with its value behind it.
bool holds_settings(const ordered_json& words) {
  if (!holds_texts(words) || words.size() % 2 != 0) return false;
  const auto flags = classify_flags();
  for (size_t i = 0; i < words.size(); i += 2) {
    const bool known =
        words[i] != "--attention" &&
        std::any_of(flags.begin(), flags.end(), [&](const auto& f) { return words[i] == f.name; });
    if (!known) return false;
  }
  return true;
}

// What table_text() reads of each.
bool holds_rows(const ordered_json& rows) {
  return rows.is_array() && std::all_of(rows.begin(), rows.end(), [](const ordered_json& row) {
           const auto text = [&](const char* key) { return row.contains(key) && row[key].is_string(); };
           const auto number = [&](const char* key) { return row.contains(key) && row[key].is_number(); };
           if (!row.is_object() || !text("attention")) return false;
           if (row.contains("refused") || row.contains("failed"))
             return text(row.contains("refused") ? "refused" : "failed");
           return number("parameters") && number("multiply_adds") && number("ms_a_step") &&
                  number("peak_bytes") &&
                  (number("best_top1") || (row.contains("best_top1") && row["best_top1"].is_null()));
         });
}

// The table of a sweep that began before; null where there is none.
ordered_json saved_sweep(const Call& call, const fs::path& output) {
  const fs::path file = output / kTable;
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) return {};
  ordered_json found = ordered_json::parse(io::read_file(file), nullptr, /*allow_exceptions=*/false);
  // Of before they were kept.
  if (found.is_object()) found.emplace("mechanisms", ordered_json::array());
  const auto has = [&](const char* key, bool (*form)(const ordered_json&)) {
    return found.contains(key) && form(found[key]);
  };
  if (!found.is_object() || !has("arguments", holds_settings) || !has("mechanisms", holds_texts) ||
      !has("rows", holds_rows)) {
    throw usage_error(call.command(), "a sweep goes on with its own table",
                      file.string() + " of another form", "Give another --output.");
  }
  return found;
}

// A call without settings takes those that the sweep began with, and without mechanisms all that were named.
Call completed(const Call& call, const ordered_json& saved) {
  if (saved.is_null() || !shared_words(call).empty()) return call;
  std::map<std::string, std::vector<std::string>> flags;
  const auto& words = saved["arguments"];
  for (size_t i = 0; i + 1 < words.size(); i += 2)
    flags[words[i].get<std::string>()].push_back(words[i + 1].get<std::string>());
  if (!call.has("--attention")) flags["--attention"] = saved["mechanisms"].get<std::vector<std::string>>();
  Call whole = call;
  for (const auto& [flag, values] : flags) whole.add(flag, values);
  return whole;
}

// The table so far, in which the mechanisms are named.
ordered_json begun(const Call& call, const ordered_json& saved, const std::vector<std::string>& mechanisms) {
  const auto words = shared_words(call);
  ordered_json sweep = saved;
  if (saved.is_null()) {
    sweep = {{"arguments", words}, {"mechanisms", ordered_json::array()}, {"rows", ordered_json::array()}};
  } else if (const auto began = saved["arguments"].get<std::vector<std::string>>(); began != words) {
    throw usage_error(call.command(), "a sweep goes on with the settings that it began with",
                      fmt::format("'{}', and '{}' in {}", fmt::join(words, " "), fmt::join(began, " "),
                                  *call.get("--output")),
                      "Give those, none, or another --output.");
  }
  auto& named = sweep["mechanisms"];
  for (const auto& mechanism : mechanisms) {
    if (std::find(named.begin(), named.end(), mechanism) == named.end()) named.push_back(mechanism);
  }
  return sweep;
}

// Where the mechanism's row is, or its place behind the others.
size_t place_of(const ordered_json& rows, const std::string& mechanism) {
  return std::find_if(rows.begin(), rows.end(),
                      [&](const auto& row) { return row["attention"] == mechanism; }) -
         rows.begin();
}

// A training that failed is tried again: a full disk, or a folder in use, says nothing of its mechanism.
bool is_done(const ordered_json& rows, size_t place) {
  return place < rows.size() && !rows[place].contains("failed");
}

double milliseconds_a_step(const fs::path& run, int64_t batch) {
  std::vector<double> found;
  for (const auto& line : train::read_log(run / "metrics.jsonl")) {
    const auto speed = line.find("samples_per_second");
    if (speed != line.end() && speed->is_number() && speed->get<double>() > 0) {
      found.push_back(1e3 * static_cast<double>(batch) / speed->get<double>());
    }
  }
  return found.empty() ? 0.0 : median(found);
}

// nullopt: a signal stopped the training, which has saved what it has.
std::optional<ordered_json> train_row(const fs::path& output, std::vector<std::string> words,
                                      ordered_json row, int64_t batch) {
  const std::string mechanism = row["attention"];
  const fs::path run = output / folder_of(mechanism), result = run.string() + ".json";
  words.insert(words.begin(), {"train", "classify"});
  words.insert(words.end(),
               {"--attention", mechanism, "--output", run.string(), "--resume", "auto", "--json"});
  const ChildEnd end = run_child(words, result);
  if (StopOnSignal::flag()) return std::nullopt;
  if (end.exit_code != 0) {
    row["failed"] = fmt::format("exit code {}", end.exit_code);
    return row;
  }
  const json told = json::parse(io::read_file(result));
  row["best_top1"] = told["best_top1"];
  row["steps"] = told["step"];
  row["ms_a_step"] = milliseconds_a_step(run, batch);
  row["peak_bytes"] = end.peak_bytes;
  row["seconds"] = told["seconds"];
  return row;
}

// What the network is, or why it cannot be.
ordered_json described(json config, const std::string& mechanism) {
  ordered_json row = {{"attention", mechanism}};
  config["model"]["attention"] = mechanism;
  try {
    const TrainingEstimate estimate = estimate_training(config);
    row["parameters"] = estimate.parameters;
    row["multiply_adds"] = estimate.multiply_adds;
  } catch (const Error& error) {
    row[error.kind() == ErrorKind::usage ? "refused" : "failed"] = placed_message_of(error);
  } catch (const std::exception& error) {
    row["failed"] = error.what();
  }
  return row;
}

std::string table_text(const ordered_json& sweep) {
  std::string text =
      "| mechanism | top-1 % | ms a step | peak MB | parameters | multiply-adds, M "
      "|\n|---|---|---|---|---|---|\n";
  for (const auto& row : sweep["rows"]) {
    const std::string name = row["attention"];
    const auto why = row.contains("refused") ? row["refused"] : row.value("failed", ordered_json());
    if (!why.is_null()) {
      text += fmt::format("| {} | {} | | | | |\n", name, one_line(why.get<std::string>()));
      continue;
    }
    const auto top1 = row["best_top1"];
    text += fmt::format("| {} | {} | {:.1f} | {:.0f} | {} | {:.1f} |\n", name,
                        top1.is_null() ? "" : fmt::format("{:.2f}", top1.get<double>()),
                        row["ms_a_step"].get<double>(), row["peak_bytes"].get<double>() / 1e6,
                        row["parameters"].get<int64_t>(), row["multiply_adds"].get<double>() / 1e6);
  }
  return text;
}

void save(const fs::path& output, const ordered_json& sweep) {
  io::write_atomically(output / kTable, sweep.dump(1) + "\n");
  io::write_atomically(output / "sweep.md", table_text(sweep));
}

int run_sweep(const Call& given) {
  const fs::path output = output_folder(given);
  const ordered_json saved = saved_sweep(given, output);
  const Call call = completed(given, saved);
  const auto mechanisms = mechanisms_of(call);
  const auto words = shared_words(call);
  begun(call, saved, mechanisms);  // refuses before there is a folder
  const json config = tasks::resolve_classify(classify_settings(call));
  make_folder(output);
  const io::FolderLock lock(output, call.command());
  // Another sweep may have ended since.
  ordered_json sweep = begun(call, saved_sweep(call, output), mechanisms);
  save(output, sweep);
  const StopOnSignal signals;
  for (size_t i = 0; i < mechanisms.size(); ++i) {
    const size_t place = place_of(sweep["rows"], mechanisms[i]);
    if (is_done(sweep["rows"], place)) continue;
    note(fmt::format("== {} of {}: {}", i + 1, mechanisms.size(), mechanisms[i]));
    std::optional<ordered_json> row = described(config, mechanisms[i]);
    if (!row->contains("refused") && !row->contains("failed"))
      row = train_row(output, words, *row, config["batch_size"]);
    if (!row) {
      note("stopped by a signal; what is done is saved. The same call goes on.");
      return StopOnSignal::exit_code();
    }
    sweep["rows"][place] = *row;
    save(output, sweep);
  }
  if (call.has("--json")) {
    print_json(sweep);
  } else {
    print(table_text(sweep));
  }
  const auto failed = [](const ordered_json& row) { return row.contains("failed"); };
  return std::any_of(sweep["rows"].begin(), sweep["rows"].end(), failed) ? 1 : 0;
}

std::vector<Argument> sweep_arguments() {
  std::vector<Argument> arguments = classify_flags();
  for (Argument& argument : arguments) {
    if (argument.name != "--attention") continue;
    argument.repeated = true;
    argument.help = "a mechanism of the table, repeatable (default: every one of fovea list mechanisms)";
  }
  arguments.push_back(
      output_flag("folder of the table, sweep.json and sweep.md, and of a run a mechanism", true));
  arguments.push_back(json_flag());
  return arguments;
}

}  // namespace

Command sweep_command() {
  return {.name = "sweep",
          .help =
              "train the same network with each attention mechanism; called again, with --output alone or "
              "all, it goes on",
          .example =
              "fovea sweep --model fashion_vit --data fashion_mnist --set data.limit=5000 --set epochs=3 "
              "--attention softmax --attention performer --output runs/sweep",
          .arguments = sweep_arguments(),
          .run = run_sweep};
}

}  // namespace fovea::cli
