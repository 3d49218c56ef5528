#pragma once
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

// What a mechanism takes after its colon is a plain struct with
//   template <class Visitor> static void fields(Options& o, Visitor&& visit) {
//     visit(OptionText{"window", "keys on either side"}, o.window, WholeFrom{0});
//   }
// Reading, checking and the lists of `fovea list` follow from that one list.

namespace fovea::nn {

/// Name and meaning of an option, and where it comes from if not from the mechanism's own paper.
struct OptionText {
  std::string name, meaning;
  std::string source = {};
};

/// What a value may be.
struct WholeFrom {
  int64_t least = 0;
};
struct AnyNumber {};
struct NumberAbove {
  double bound = 0.0;
};
/// The names of values, the usual one of each first.
template <class T>
using Choice = std::vector<std::pair<std::string, T>>;

/// One row of `fovea list mechanisms NAME`.
struct OptionDoc {
  std::string name;
  /// What its value may be, in words.
  std::string value;
  std::string meaning;
  /// As users write it; empty where leaving it out is a choice of its own, which `meaning` then tells.
  std::string standard;
  std::string source;
};

std::string in_words(const WholeFrom& range);
inline std::string in_words(const AnyNumber&) { return "a number"; }
std::string in_words(const NumberAbove& range);
std::string in_words(const std::vector<std::string>& names);
std::string shown(bool value);
std::string shown(int64_t value);
std::string shown(double value);

template <class T>
std::string shown(const std::optional<T>& value) {
  return value ? shown(*value) : "";
}

template <class T>
std::vector<std::string> choice_names(const Choice<T>& choice) {
  std::vector<std::string> names;
  for (const auto& [name, value] : choice) names.push_back(name);
  return names;
}

/// Collects an OptionDoc for each field.
class OptionDescriber {
 public:
  explicit OptionDescriber(std::vector<OptionDoc>& docs) : docs_(docs) {}

  template <class T, class Range>
  void operator()(const OptionText& text, const T& value, const Range& range) {
    docs_.push_back({text.name, in_words(range), text.meaning, shown(value), text.source});
  }
  void operator()(const OptionText& text, bool value) {
    docs_.push_back({text.name, "true or false", text.meaning, shown(value), text.source});
  }
  template <class T>
  void operator()(const OptionText& text, const T& value, const Choice<T>& choice) {
    std::string standard;
    for (const auto& [name, chosen] : choice) {
      if (standard.empty() && chosen == value) standard = name;
    }
    docs_.push_back({text.name, in_words(choice_names(choice)), text.meaning, standard, text.source});
  }

 private:
  std::vector<OptionDoc>& docs_;
};

/// key=value pairs, as users wrote them.
using Settings = std::map<std::string, std::string>;

/// What users write: NAME[:settings].
struct NamedSettings {
  std::string name, settings;
};
NamedSettings split_name(const std::string& text);

/// "key=value,key=value". Throws fovea::Error (usage) in the name of `where` on another form and on a key
/// given twice.
Settings split_settings(const std::string& where, std::string text);

/// Reads the fields that `settings` have. Throws fovea::Error (usage) on a value that does not fit.
class OptionReader {
 public:
  /// `list` is what `fovea list` shows it under.
  OptionReader(std::string where, const Settings& settings, std::string list = "mechanisms")
      : where_(std::move(where)), settings_(settings), list_(std::move(list)) {}

  void operator()(const OptionText& text, bool& value);
  void operator()(const OptionText& text, int64_t& value, const WholeFrom& range);
  void operator()(const OptionText& text, double& value, const AnyNumber& range);
  void operator()(const OptionText& text, double& value, const NumberAbove& range);

  template <class T, class Range>
  void operator()(const OptionText& text, std::optional<T>& value, const Range& range) {
    T read{};
    if (!settings_.contains(text.name)) return note(text.name);
    (*this)(text, read, range);
    value = read;
  }

  template <class T>
  void operator()(const OptionText& text, T& value, const Choice<T>& choice) {
    const std::string* found = find(text.name);
    if (!found) return;
    for (const auto& [name, chosen] : choice) {
      if (name == *found) {
        value = chosen;
        return;
      }
    }
    refuse_choice(text.name, choice_names(choice));
  }

  /// Throws fovea::Error (usage), naming the nearest, if there is a key that no field asked for.
  void refuse_unknown() const;

 private:
  void note(const std::string& name) { known_.push_back(name); }
  const std::string* find(const std::string& name);
  [[noreturn]] void refuse(const std::string& name, const std::string& wanted) const;
  [[noreturn]] void refuse_choice(const std::string& name, const std::vector<std::string>& names) const;
  std::string all_options() const { return "`fovea list " + list_ + " " + where_ + "`"; }
  template <class Number>
  bool parse(const std::string& text, Number& read) const;

  std::string where_;
  const Settings& settings_;
  std::string list_;
  std::vector<std::string> known_;
};

template <class Options>
std::vector<OptionDoc> describe_options(Options options) {
  std::vector<OptionDoc> docs;
  Options::fields(options, OptionDescriber(docs));
  return docs;
}

/// `options` with what `settings` say, in the name of `where` of that list. Structs with a `void check(where)
/// const` are asked whether their values go together.
template <class Options>
Options read_options(const std::string& where, const Settings& settings, Options options,
                     const char* list = "mechanisms") {
  OptionReader reader(where, settings, list);
  Options::fields(options, reader);
  reader.refuse_unknown();
  if constexpr (requires { options.check(where); }) options.check(where);
  return options;
}

}  // namespace fovea::nn
