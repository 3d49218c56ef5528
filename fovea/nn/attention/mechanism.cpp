#include "fovea/nn/attention/mechanism.h"

#include <ATen/ops/from_blob.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/ops/attend_functors.h"
#include "fovea/ops/attend_normalisers.h"
#include "fovea/ops/call_functors.h"

namespace fovea::nn {
namespace {

// One key=value into a Mechanism.
struct MechanismReader {
  Mechanism& to;
  const std::string &key, &value;

  [[noreturn]] void refuse(const std::string& wanted) const {
    throw usage_error(to.name, key + " must be " + wanted, "'" + value + "'",
                      "`fovea list options` shows what each key takes.");
  }

  template <class Number>
  Number number(Number least, const char* wanted) const {
    Number read = 0;
    const auto [end, failure] = std::from_chars(value.data(), value.data() + value.size(), read);
    if (failure != std::errc() || end != value.data() + value.size() || !(read >= least)) refuse(wanted);
    return read;
  }

  double any_number() const {
    const double read = number(std::numeric_limits<double>::lowest(), "a number");
    if (!std::isfinite(read)) refuse("a number");
    return read;
  }
  int64_t whole() const { return number(int64_t{0}, "a whole number from 0"); }
  int32_t positive() const { return number(int32_t{1}, "a whole number from 1"); }

  bool truth() const {
    if (value != "true" && value != "false") refuse("true or false");
    return value == "true";
  }

  CausalAlignment alignment() const {
    if (value == "true" || value == "top_left") return CausalAlignment::top_left;
    if (value == "bottom_right") return CausalAlignment::bottom_right;
    if (value != "false") refuse("true, false or bottom_right");
    return CausalAlignment::none;
  }

  AttendWindow& window() const {
    if (!to.options.window) to.options.window = AttendWindow{};
    return *to.options.window;
  }

  double softcap() const {
    const double cap = any_number();
    if (cap <= 0) refuse("a number above 0");
    return cap;
  }

  void sigmoid_bias() const {
    auto* sigmoid = std::get_if<Sigmoid>(&to.options.normaliser);
    if (!sigmoid) {
      throw usage_error(to.name, "sigmoid_bias belongs to the normaliser sigmoid",
                        normaliser_name(to.options.normaliser), "Write normaliser=sigmoid before it.");
    }
    sigmoid->bias = any_number();
  }

  void read() const {
    if (key == "scale" && to.is_additive()) refuse("left out, as additive scores have none");
    if (key == "scale") to.options.scale = any_number();
    if (key == "softcap") to.options.softcap = softcap();
    if (key == "alibi") to.alibi = truth();
    if (key == "causal") to.options.causal = alignment();
    if (key == "window") window() = {whole(), whole()};
    if (key == "window_left") window().left = whole();
    if (key == "window_right") window().right = whole();
    if (key == "dilation") to.dilation = positive();
    if (key == "global") to.global = number(int32_t{0}, "a whole number from 0");
    if (key == "stride") to.stride = positive();
    if (key == "block") to.block = positive();
    if (key == "normaliser") to.options.normaliser = find_normaliser(value);
    if (key == "sigmoid_bias") sigmoid_bias();
  }
};

void require_key(const std::string& where, const std::string& key) {
  std::vector<std::string> names;
  for (const auto& option : mechanism_options()) {
    if (option.name == key) return;
    names.push_back(option.name);
  }
  throw usage_error(where, "the option '" + key + "' is unknown. " +
                               suggest_name(key, names, "`fovea list options` shows all."));
}

struct Setting {
  std::string key, value;
};

// "key=value,key=value"
std::vector<Setting> split_settings(const std::string& where, std::string text) {
  std::vector<Setting> settings;
  while (!text.empty()) {
    const auto comma = text.find(',');
    const std::string part = text.substr(0, comma);
    text = comma == std::string::npos ? "" : text.substr(comma + 1);
    const auto equals = part.find('=');
    if (equals == std::string::npos || equals == 0) {
      throw usage_error(where, "options are written key=value,key=value", "'" + part + "'",
                        "Write for example causal=true,window=256.");
    }
    settings.push_back({part.substr(0, equals), part.substr(equals + 1)});
  }
  return settings;
}

}  // namespace

Mechanism parse_mechanism(const std::string& text) {
  const auto colon = text.find(':');
  const MechanismEntry& entry = find_mechanism(text.substr(0, colon));
  Mechanism mechanism;
  mechanism.name = entry.name;
  const auto read = [&](const Setting& setting) {
    MechanismReader{mechanism, setting.key, setting.value}.read();
  };
  for (const auto& setting : split_settings(entry.name, entry.defaults)) read(setting);
  std::set<std::string> seen;
  for (const auto& setting :
       split_settings(entry.name, colon == std::string::npos ? "" : text.substr(colon + 1))) {
    require_key(entry.name, setting.key);
    if (!seen.insert(setting.key).second) {
      throw usage_error(entry.name, "each option is given once", "'" + setting.key + "' again",
                        "Leave one out.");
    }
    read(setting);
  }
  if (mechanism.stride && (mechanism.global || mechanism.dilation)) {
    throw usage_error(entry.name, "stride goes with neither global nor dilation", "both", "Leave one out.");
  }
  return mechanism;
}

AttendOptions attend_options(const Mechanism& mechanism, int64_t heads) {
  AttendOptions options = mechanism.options;
  const auto with_mask = [&](auto mask) {
    options.functors = mechanism.alibi ? bind(Alibi{float_table(alibi_slopes(heads))}, std::move(mask))
                                       : bind(Identity{}, std::move(mask));
  };
  if (mechanism.stride) {
    with_mask(Causal() & (Window(*mechanism.stride, 0) | Dilated(*mechanism.stride)));
  } else if (mechanism.global || mechanism.dilation) {
    const AttendWindow window = options.window.value_or(AttendWindow{});
    options.window.reset();
    with_mask((window_mask(window) & Dilated(mechanism.dilation.value_or(1))) |
              Global(mechanism.global.value_or(0)));
  } else if (mechanism.alibi) {
    with_mask(All{});
  }
  return options;
}

at::Tensor alibi_slopes(int64_t heads) {
  std::vector<float> slopes;
  const auto add = [&](int64_t of, int64_t first, int64_t step) {
    for (int64_t h = first; h < of && static_cast<int64_t>(slopes.size()) < heads; h += step) {
      slopes.push_back(std::exp2(-8.0f * static_cast<float>(h + 1) / static_cast<float>(of)));
    }
  };
  const auto below = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(heads)));
  add(below, 0, 1);
  add(2 * below, 0, 2);
  // Of numbers that are there, on the meta device too.
  return at::from_blob(slopes.data(), {heads}, at::kFloat).clone();
}

}  // namespace fovea::nn
