#pragma once
#include <functional>
#include <string>

#include "fovea/cli/command.h"

namespace fovea::cli {

/// What is done with each IMAGE of a call.
struct ImageWork {
  std::function<void(const std::string& file)> work;
  /// Told of an image that failed, after its line went to stderr.
  std::function<void(const std::string& file, const std::string& line)> failed;
};

/// Goes through the images of a call and returns the exit code: that of the first that failed, or 0.
///
/// One bad image does not cost the others: what fails for one (unreadable, not finite, too large for the
/// memory, refused by libtorch) is a line on stderr that names the file. Any other error ends the call.
int for_each_image(const Call& call, const ImageWork& images);

}  // namespace fovea::cli
