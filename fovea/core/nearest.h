#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace fovea {

/// The candidate with the smallest edit distance (insert, delete, replace, swap neighbours) to `name`; empty
/// when none is near: more than a third of the letters, and more than two, differ. O(|name| |candidate|)
/// each.
std::string nearest_name(std::string_view name, const std::vector<std::string>& candidates);

/// `Did you mean 'x'?` for the nearest candidate, otherwise `otherwise`. Made to end an error message.
std::string suggest_name(std::string_view name, const std::vector<std::string>& candidates,
                         std::string_view otherwise);

}  // namespace fovea
