// confusion_html of charts.h.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "fovea/core/error.h"
#include "fovea/explain/charts.h"
#include "fovea/explain/html.h"

namespace fovea::explain {
namespace {

constexpr size_t kMaxTableClasses = 24, kMaxPairs = 20;

int64_t row_sum(const Confusion& confusion, size_t row) {
  const size_t n = confusion.classes.size();
  int64_t sum = 0;
  for (size_t j = 0; j < n; ++j) sum += confusion.counts[row * n + j];
  return sum;
}

double share(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0.0;
}

// The square root lets rare confusions show beside the diagonal, which is near 1.
std::string cell(const Confusion& confusion, size_t i, size_t j, int64_t total) {
  const int64_t count = confusion.counts[i * confusion.classes.size() + j];
  const double part = share(count, total), shade = std::sqrt(part);
  return fmt::format(R"(<td class="{}{}" style="--s:{:.3f}" title="{} taken for {}: {} of {}">{}</td>)",
                     i == j ? "hit" : "miss", count == 0 ? " none" : "", shade,
                     escape_html(confusion.classes[i]), escape_html(confusion.classes[j]), count, total,
                     count == 0 ? std::string("&middot;") : std::to_string(count));
}

std::string as_table(const Confusion& confusion) {
  const size_t n = confusion.classes.size();
  std::string out =
      R"(<div class="scroll"><table class="confusion"><thead><tr><th class="corner" scope="col">)"
      R"(true \ predicted</th>)";
  for (const auto& name : confusion.classes) {
    out += fmt::format(R"(<th scope="col"><span>{}</span></th>)", escape_html(name));
  }
  out += R"(<th scope="col" class="recall"><span>recall</span></th></tr></thead><tbody>)";
  for (size_t i = 0; i < n; ++i) {
    const int64_t total = row_sum(confusion, i);
    out += fmt::format(R"(<tr><th scope="row">{}</th>)", escape_html(confusion.classes[i]));
    for (size_t j = 0; j < n; ++j) out += cell(confusion, i, j, total);
    out += fmt::format(R"(<td class="recall">{:.1f}%</td></tr>)",
                       100 * share(confusion.counts[i * n + i], total));
  }
  return out + "</tbody></table></div>";
}

struct Pair {
  size_t truth, predicted;
  int64_t count;
};

std::string as_list(const Confusion& confusion) {
  const size_t n = confusion.classes.size();
  std::vector<Pair> pairs;
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) {
      const int64_t count = confusion.counts[i * n + j];
      if (i != j && count > 0) pairs.push_back({i, j, count});
    }
  }
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const Pair& a, const Pair& b) { return a.count > b.count; });
  pairs.resize(std::min(pairs.size(), kMaxPairs));
  std::string out =
      R"(<div class="scroll"><table class="pairs"><thead><tr><th>true class</th><th>taken for</th>)"
      R"(<th>images</th><th>share</th></tr></thead><tbody>)";
  for (const auto& pair : pairs) {
    out += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.1f}%</td></tr>",
                       escape_html(confusion.classes[pair.truth]),
                       escape_html(confusion.classes[pair.predicted]), pair.count,
                       100 * share(pair.count, row_sum(confusion, pair.truth)));
  }
  return out + "</tbody></table></div>";
}

}  // namespace

std::string confusion_html(const Confusion& confusion) {
  const size_t n = confusion.classes.size();
  if (confusion.counts.size() != n * n) {
    throw usage_error("confusion_html",
                      fmt::format("counts are classes x classes; found {} classes and {} counts.", n,
                                  confusion.counts.size()));
  }
  return n <= kMaxTableClasses ? as_table(confusion) : as_list(confusion);
}

}  // namespace fovea::explain
