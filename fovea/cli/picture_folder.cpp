#include "fovea/cli/picture_folder.h"

#include "fovea/cli/console.h"
#include "fovea/io/file.h"

namespace fovea::cli {
namespace {

namespace fs = std::filesystem;

// Each name ends in a zero byte: file names may hold any other.
constexpr const char* kList = ".fovea-pictures";

void remove_earlier(const fs::path& folder) {
  if (!fs::is_regular_file(folder / kList)) return;
  const std::string names = io::read_file(folder / kList, uint64_t{64} << 20);
  for (size_t begin = 0, end = 0; (end = names.find('\0', begin)) != std::string::npos; begin = end + 1) {
    const fs::path name = names.substr(begin, end - begin);
    // Whatever the list says, only pictures of this folder go.
    if (name.extension() == ".png" && name == name.filename()) fs::remove(folder / name);
  }
  fs::remove(folder / "index.html");
}

}  // namespace

PictureFolder::PictureFolder(fs::path folder) : folder_(std::move(folder)) {
  make_folder(folder_);
  remove_earlier(folder_);
  io::write_atomically(folder_ / kList, names_);
}

fs::path PictureFolder::add(const std::string& name, const io::Image& picture) {
  // Listed first: a picture that is not there is no harm.
  names_ += name;
  names_ += '\0';
  io::write_atomically(folder_ / kList, names_);
  io::write_png(folder_ / name, picture);
  return folder_ / name;
}

}  // namespace fovea::cli
