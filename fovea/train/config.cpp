#include "fovea/train/config.h"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <variant>

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/io/json_text.h"

namespace fovea::train {
namespace {

using nlohmann::json;
constexpr double kMany = 1e15;

/// A key as a member of TrainConfig: its range for numbers (a bound is allowed unless `open`), its words for
/// strings.
struct Key {
  const char* name;
  std::variant<int64_t TrainConfig::*, double TrainConfig::*, bool TrainConfig::*, std::string TrainConfig::*>
      member;
  double low, high;
  std::vector<std::string> words;
  const char* meaning;
};

const std::vector<Key>& keys() {
  using C = TrainConfig;
  static const std::vector<Key> table = {
      {"epochs", &C::epochs, 1, kMany, {}, "passes over the training data"},
      {"max_steps", &C::max_steps, 0, kMany, {}, "optimiser steps; when set it replaces epochs"},
      {"batch_size", &C::batch_size, 1, kMany, {}, "samples of one forward pass"},
      {"accumulate", &C::accumulate, 1, kMany, {}, "forward passes of one optimiser step"},
      {"optimizer", &C::optimizer, 0, 0, {"sgd", "adam", "adamw"}, "update rule"},
      {"lr", &C::lr, 0, kMany, {}, "highest learning rate"},
      {"momentum", &C::momentum, 0, 1, {}, "of sgd"},
      {"nesterov", &C::nesterov, 0, 0, {}, "Nesterov's form of momentum (sgd)"},
      {"beta1", &C::beta1, 0, 1, {}, "decay of the mean of gradients (adam, adamw)"},
      {"beta2", &C::beta2, 0, 1, {}, "decay of the mean of squared gradients (adam, adamw)"},
      {"weight_decay",
       &C::weight_decay,
       0,
       kMany,
       {},
       "as torch.optim: decoupled for adamw, else added to gradients"},
      {"l1", &C::l1, 0, kMany, {}, "L1 penalty by soft thresholding after each step: exact zeros"},
      {"l2", &C::l2, 0, kMany, {}, "L2 penalty added to the gradients of any optimizer"},
      {"clip_norm", &C::clip_norm, 0, kMany, {}, "largest global norm of the gradients; 0 = no clipping"},
      {"schedule",
       &C::schedule,
       0,
       0,
       {"cosine", "step", "exponential", "constant"},
       "learning rate over the steps"},
      {"warmup_steps", &C::warmup_steps, 0, kMany, {}, "steps of linear warm-up"},
      {"warmup_fraction",
       &C::warmup_fraction,
       0,
       1,
       {},
       "warm-up as a part of all steps, when warmup_steps is 0"},
      {"step_size", &C::step_size, 1, kMany, {}, "epochs between decays (step)"},
      {"gamma", &C::gamma, 0, 1, {}, "factor of a decay (step), or per epoch (exponential)"},
      {"min_lr", &C::min_lr, 0, kMany, {}, "lowest learning rate after warm-up"},
      {"ema_decay", &C::ema_decay, 0, 1, {}, "decay of the moving average of the weights; 0 = off"},
      {"label_smoothing", &C::label_smoothing, 0, 1, {}, "part of the target spread over all classes"},
      {"amp", &C::amp, 0, 0, {"none", "bf16"}, "automatic mixed precision"},
      {"channels_last", &C::channels_last, 0, 0, {}, "memory layout of images and convolutions"},
      {"activation_checkpointing",
       &C::activation_checkpointing,
       0,
       0,
       {},
       "recompute blocks in the backward pass"},
      {"checkpoint_every",
       &C::checkpoint_every,
       0,
       kMany,
       {},
       "steps between checkpoints, besides each epoch's end"},
      {"keep_checkpoints", &C::keep_checkpoints, 1, kMany, {}, "newest checkpoints kept besides the best"},
      {"log_every", &C::log_every, 1, kMany, {}, "steps a line of metrics.jsonl"},
      {"seed", &C::seed, 0, kMany, {}, "of initial weights, order of samples, augmentation, dropout"},
      {"threads", &C::threads, 0, 4096, {}, "threads of the operators; 0 = as many as cores"},
  };
  return table;
}

Error wrong(const Key& key, const std::string& rule, const json& found) {
  json usual;
  std::visit([&](auto member) { usual = TrainConfig().*member; }, key.member);
  const std::string value = usual.is_string() ? usual.get<std::string>() : usual.dump();
  return usage_error("config", fmt::format("{} must be {}", key.name, rule), io::show_json(found),
                     fmt::format("Write one, as {}={}.", key.name, value));
}

std::string type_of(const Key& key) {
  if (!key.words.empty()) return fmt::format("{}", fmt::join(key.words, "|"));
  if (std::holds_alternative<bool TrainConfig::*>(key.member)) return "true|false";
  return std::holds_alternative<int64_t TrainConfig::*>(key.member) ? "integer" : "number";
}

void check_range(const Key& key, double value, const json& found) {
  if (value >= key.low && value <= key.high) return;
  if (key.high < kMany) throw wrong(key, fmt::format("from {} to {}", key.low, key.high), found);
  throw wrong(key,
              value > key.high ? fmt::format("at most {}", key.high) : fmt::format("at least {}", key.low),
              found);
}

void assign(TrainConfig& config, const Key& key, const json& value) {
  if (const auto* member = std::get_if<int64_t TrainConfig::*>(&key.member)) {
    if (!value.is_number_integer()) throw wrong(key, "an integer", value);
    check_range(key, value.get<double>(), value);
    config.*(*member) = value.get<int64_t>();
  } else if (const auto* member = std::get_if<double TrainConfig::*>(&key.member)) {
    if (!value.is_number()) throw wrong(key, "a number", value);
    check_range(key, value.get<double>(), value);
    config.*(*member) = value.get<double>();
  } else if (const auto* member = std::get_if<bool TrainConfig::*>(&key.member)) {
    if (!value.is_boolean()) throw wrong(key, "true or false", value);
    config.*(*member) = value.get<bool>();
  } else {
    const auto member_of_words = std::get<std::string TrainConfig::*>(key.member);
    if (!value.is_string() || std::find(key.words.begin(), key.words.end(), value) == key.words.end()) {
      throw wrong(key, fmt::format("one of {}", fmt::join(key.words, ", ")), value);
    }
    config.*member_of_words = value.get<std::string>();
  }
}

void check_together(const TrainConfig& config) {
  const auto refuse = [](const std::string& message) { throw usage_error("config", message); };
  if (config.beta1 >= 1 || config.beta2 >= 1) {
    refuse(fmt::format("beta1 and beta2 must be below 1; found {} and {}. Lower them.", config.beta1,
                       config.beta2));
  }
  if (config.ema_decay >= 1) {
    refuse(fmt::format("ema_decay must be below 1, or the average never moves; found {}. Lower it.",
                       config.ema_decay));
  }
  if (config.nesterov && (config.optimizer != "sgd" || config.momentum == 0)) {
    refuse(
        fmt::format("nesterov is for optimizer=sgd with momentum above 0; found {} and {}. Set these, or "
                    "nesterov=false.",
                    config.optimizer, config.momentum));
  }
  if (config.warmup_steps > 0 && config.warmup_fraction > 0) {
    refuse(fmt::format("warmup_steps and warmup_fraction exclude each other; found {} and {}. Set one.",
                       config.warmup_steps, config.warmup_fraction));
  }
  if (config.min_lr > config.lr) {
    refuse(
        fmt::format("min_lr must not exceed lr; found {} and {}. Lower min_lr.", config.min_lr, config.lr));
  }
}

/// Keys of which the result of a step does not depend.
bool may_change(const std::string& key) {
  static const std::set<std::string> harmless = {"epochs",           "max_steps", "checkpoint_every",
                                                 "keep_checkpoints", "log_every", "threads",
                                                 "description",      "library"};
  return harmless.contains(key);
}

std::string note_for(const std::string& key, const json& saved, const json& wanted) {
  const std::string change =
      fmt::format("{} changed from {} to {}", key, io::show_json(saved), io::show_json(wanted));
  if (key == "threads")
    return change + ": the rest of the run is no longer bit-identical to an unbroken one.";
  if (key == "epochs" || key == "max_steps") return change + ": later learning rates follow the new length.";
  return change + ".";
}

/// Whether two data sets NAME[:PATH] differ by their place only. For `folder` the place says what it is.
bool same_data(const std::string& before, const std::string& now) {
  const std::string name = before.substr(0, before.find(':'));
  return name != "folder" && name == now.substr(0, now.find(':'));
}

void compare(const std::string& prefix, const json& saved, const json& wanted, ResumeCheck& check) {
  if (!saved.is_object() || !wanted.is_object())
    throw usage_error("resume", "a configuration must be a JSON object. Start a new run in another folder.");
  std::set<std::string> names;
  for (const auto& [name, value] : saved.items()) names.insert(name);
  for (const auto& [name, value] : wanted.items()) names.insert(name);
  for (const std::string& name : names) {
    const json before = saved.value(name, json()), now = wanted.value(name, json());
    const std::string key = prefix + name;
    if (before == now) continue;
    if (before.is_object() && now.is_object()) {
      compare(key + ".", before, now, check);
    } else if (key == "data.name" && before.is_string() && now.is_string() && same_data(before, now)) {
      check.notes.push_back(fmt::format("the data were at {}, now at {}: they must be the same.",
                                        io::show_json(before), io::show_json(now)));
    } else if (key == "data.workers" || key == "data.prefetch") {
      continue;  // How batches are made ready, not what is in them.
    } else if (prefix.empty() && may_change(name)) {
      if (name != "library" && name != "description") check.notes.push_back(note_for(key, before, now));
    } else {
      throw usage_error("resume", fmt::format("a resumed run must keep its configuration; {} was {}, now {}. "
                                              "Start a new run in another folder, or set it back.",
                                              key, io::show_json(before), io::show_json(now)));
    }
  }
}

}  // namespace

const std::vector<ConfigKey>& config_keys() {
  static const std::vector<ConfigKey> list = [] {
    std::vector<ConfigKey> result;
    for (const Key& key : keys()) result.push_back({key.name, type_of(key), key.meaning});
    return result;
  }();
  return list;
}

TrainConfig config_from_json(const json& object) {
  if (!object.is_object()) throw usage_error("config", "a configuration must be a JSON object.");
  TrainConfig config;
  for (const auto& [name, value] : object.items()) {
    const auto key = std::find_if(keys().begin(), keys().end(), [&](const Key& k) { return k.name == name; });
    if (key == keys().end()) {
      std::vector<std::string> names = {"model", "data"};
      for (const Key& k : keys()) names.emplace_back(k.name);
      const std::string remedy = suggest_name(name, names, "`--print-config` shows all keys.");
      throw usage_error("config", fmt::format("unknown key '{}'. {}", name, remedy));
    }
    assign(config, *key, value);
  }
  check_together(config);
  return config;
}

json config_to_json(const TrainConfig& config) {
  json object = json::object();
  for (const Key& key : keys()) {
    std::visit([&](auto member) { object[key.name] = config.*member; }, key.member);
  }
  return object;
}

ResumeCheck check_resume(const json& saved, const json& wanted) {
  ResumeCheck check;
  compare("", saved, wanted, check);
  return check;
}

}  // namespace fovea::train
