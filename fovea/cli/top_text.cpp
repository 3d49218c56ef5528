#include "fovea/cli/top_text.h"

#include <fmt/format.h>

#include "fovea/train/metrics.h"

namespace fovea::cli {

std::string top_text(double top1, double top5, int64_t classes) {
  const std::string text = fmt::format("top-1 {:.2f}%", top1);
  return train::has_top5(classes) ? fmt::format("{}  top-5 {:.2f}%", text, top5) : text;
}

}  // namespace fovea::cli
