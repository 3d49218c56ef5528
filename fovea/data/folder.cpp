#include "fovea/data/folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"
#include "fovea/data/image_tensor.h"
#include "fovea/data/tensor_dataset.h"
#include "fovea/io/utf8.h"

namespace fovea::data {
namespace {

namespace fs = std::filesystem;
using Files = std::vector<FolderDataset::File>;

std::string extension_of(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return extension;
}

bool starts_like_an_image(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string start(8, '\0');
  file.read(start.data(), 8);
  return start == "\x89PNG\r\n\x1a\n" || start.substr(0, 3) == "\xff\xd8\xff";
}

bool has_image_name(const fs::path& path) {
  static const std::set<std::string> extensions = {".jpg", ".jpeg", ".png"};
  return extensions.contains(extension_of(path));
}

// Decoding tells what a file is; names only decide which files are meant as images, without opening a
// million. Leaving out what was meant as one would silently train on other data than the user thinks.
bool is_image(const fs::path& path) {
  static const std::set<std::string> not_read = {".webp", ".bmp", ".gif",  ".tif", ".tiff",
                                                 ".ppm",  ".pgm", ".heic", ".avif"};
  std::error_code error;
  if (!fs::exists(path, error) && has_image_name(path)) {
    throw data_error("folder", fmt::format("{} is a link to nothing. Take it away.", path.string()));
  }
  if (!fs::is_regular_file(path, error)) return false;
  if (has_image_name(path) || starts_like_an_image(path)) return true;
  if (!not_read.contains(extension_of(path))) return false;
  throw data_error("folder", fmt::format("{}: only JPEG and PNG images are read. Convert it or take it away.",
                                         path.string()));
}

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

std::vector<fs::path> sorted_entries(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> entries;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (!is_hidden(it->path())) entries.push_back(it->path());
  }
  if (error)
    throw data_error("folder", fmt::format("{} cannot be listed: {}.", folder.string(), error.message()));
  std::sort(entries.begin(), entries.end());
  return entries;
}

std::vector<fs::path> sub_folders(const fs::path& folder) {
  std::vector<fs::path> folders = sorted_entries(folder);
  std::error_code ignored;
  std::erase_if(folders, [&](const fs::path& path) { return !fs::is_directory(path, ignored); });
  return folders;
}

// All images below `folder`. `seen` holds real paths, so that a loop of links ends.
void collect(const fs::path& folder, int64_t label, std::set<fs::path>& seen, Files& files) {
  std::error_code error;
  if (!seen.insert(fs::canonical(folder, error)).second || error) return;
  for (const auto& path : sorted_entries(folder)) {
    if (fs::is_directory(path, error)) {
      collect(path, label, seen, files);
    } else if (is_image(path)) {
      files.push_back({path, label});
    }
  }
}

// Configurations and results are JSON, which has no other letters.
std::string class_name(const fs::path& folder) {
  std::string name = folder.filename().string();
  if (io::is_utf8(name)) return name;
  throw data_error("folder",
                   fmt::format("the name of a class must be UTF-8; found {} in {}. Rename the folder.",
                               io::quote_text(name), folder.parent_path().string()));
}

// The images of one part; class_names is filled when it is empty, otherwise it must know every class.
Files collect_part(const fs::path& folder, std::vector<std::string>& class_names) {
  const auto folders = sub_folders(folder);
  if (folders.empty()) {
    throw data_error("folder", fmt::format("{} must hold one folder of images a class; found no folder.",
                                           folder.string()));
  }
  if (class_names.empty()) {
    for (const auto& path : folders) class_names.push_back(class_name(path));
  }
  Files files;
  for (const auto& path : folders) {
    const std::string name = class_name(path);
    const auto found = std::find(class_names.begin(), class_names.end(), name);
    if (found == class_names.end()) {
      throw data_error("folder",
                       fmt::format("{}: the training part has no class '{}'. {}", path.string(), name,
                                   suggest_name(name, class_names, "Take it away or add it there.")));
    }
    const size_t before = files.size();
    std::set<fs::path> seen;
    collect(path, found - class_names.begin(), seen, files);
    if (files.size() == before) {
      throw data_error(
          "folder",
          fmt::format("{}: a class must have at least one JPEG or PNG image; found none.", path.string()));
    }
  }
  return files;
}

// Whether `folder` is a part (train, val, test) and not a class of that name: a part holds folders.
bool is_part(const fs::path& folder) {
  std::error_code ignored;
  return fs::is_directory(folder, ignored) && !sub_folders(folder).empty();
}

}  // namespace

FolderDataset::FolderDataset(std::vector<File> files, std::vector<std::string> class_names, int64_t channels)
    : files_(std::move(files)), class_names_(std::move(class_names)), channels_(channels) {
  if (channels != 1 && channels != 3) {
    throw usage_error("folder", fmt::format("channels must be 1 or 3; found {}.", channels));
  }
}

Sample FolderDataset::get(int64_t index) const {
  check_index(index, size());
  io::ImageOptions options;
  options.color = channels_ == 1 ? io::ColorMode::grey : io::ColorMode::rgb;
  return {image_to_tensor(io::read_image(files_[index].path, options)), files_[index].label};
}

int64_t FolderDataset::label(int64_t index) const {
  check_index(index, size());
  return files_[index].label;
}

std::string FolderDataset::describe(int64_t index) const {
  check_index(index, size());
  return files_[index].path.string();
}

Splits open_folder(const fs::path& folder, int64_t channels) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) {
    throw data_error("folder",
                     fmt::format("{} must be a folder with one folder of images a class; found {}.",
                                 folder.string(), fs::exists(folder, ignored) ? "a file" : "nothing there"));
  }
  std::vector<std::string> class_names;
  const auto open = [&](const fs::path& part) {
    Files files = collect_part(part, class_names);
    return std::make_shared<FolderDataset>(std::move(files), class_names, channels);
  };
  Splits splits;
  const bool parted = is_part(folder / "train");
  splits.train = open(parted ? folder / "train" : folder);
  if (parted && is_part(folder / "val")) splits.val = open(folder / "val");
  if (parted && is_part(folder / "test")) splits.test = open(folder / "test");
  return splits;
}

}  // namespace fovea::data
