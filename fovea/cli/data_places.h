#pragma once
#include <string>
#include <vector>

namespace fovea::cli {

/// A data set's usual folder.
struct DataPlace {
  std::string name;
  std::string path;
  bool found = false;
};

/// Where the data sets that have a default path are looked for, and whether they are there. Reads no data.
std::vector<DataPlace> data_places();

}  // namespace fovea::cli
