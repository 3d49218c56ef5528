#pragma once
#include <string>

namespace fovea::cli {

/// `top-1 91.20%  top-5 99.60%`, both in percent; top-5 only where it says anything (train::has_top5).
std::string top_text(double top1, double top5, int64_t classes);

}  // namespace fovea::cli
