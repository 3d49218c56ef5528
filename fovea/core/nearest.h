#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "fovea/core/error.h"

namespace fovea {

/// The candidate with the smallest edit distance (insert, delete, replace, swap neighbours) to `name`; empty
/// when none is near: more than a third of the letters, and more than two, differ. O(|name| |candidate|)
/// each.
std::string nearest_name(std::string_view name, const std::vector<std::string>& candidates);

/// `Did you mean 'x'?` for the nearest candidate, otherwise `otherwise`. Made to end an error message.
std::string suggest_name(std::string_view name, const std::vector<std::string>& candidates,
                         std::string_view otherwise);

/// What is said of a name that there is not.
struct UnknownName {
  std::string where, rule, otherwise;
};

/// The entry with that `name`. Throws fovea::Error (usage), naming the nearest, when there is none.
template <class Entry>
const Entry& find_named(const std::vector<Entry>& entries, const std::string& name,
                        const UnknownName& unknown) {
  std::vector<std::string> names;
  for (const Entry& entry : entries) {
    if (entry.name == name) return entry;
    names.push_back(entry.name);
  }
  throw usage_error(unknown.where, unknown.rule, "'" + name + "'",
                    suggest_name(name, names, unknown.otherwise));
}

}  // namespace fovea
