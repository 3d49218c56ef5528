#include "fovea/cli/data_places.h"

#include <filesystem>

#include "fovea/data/open.h"

namespace fovea::cli {

std::vector<DataPlace> data_places() {
  std::vector<DataPlace> places;
  for (const auto& entry : data::data_entries()) {
    if (entry.default_path.empty()) continue;
    std::error_code ignored;
    places.push_back({.name = entry.name,
                      .path = entry.default_path,
                      .found = std::filesystem::is_directory(entry.default_path, ignored)});
  }
  return places;
}

}  // namespace fovea::cli
