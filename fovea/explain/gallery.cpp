#include "fovea/explain/gallery.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "fovea/core/error.h"
#include "fovea/explain/heatmap.h"
#include "fovea/explain/html.h"

namespace fovea::explain {
namespace {

constexpr const char* kColours = "inferno";
constexpr int64_t kMaxSide = 160, kSmoothSide = 32;
constexpr size_t kShownScores = 3;

// Halved by means until no side is longer than kMaxSide: the page shows pictures no larger.
io::Image thumbnail(const io::Image& image) {
  const int64_t factor = (std::max(image.width, image.height) + kMaxSide - 1) / kMaxSide;
  if (factor <= 1) return image;
  io::Image small{std::max<int64_t>(1, image.width / factor),
                  std::max<int64_t>(1, image.height / factor),
                  image.channels,
                  {}};
  small.pixels.reserve(small.width * small.height * small.channels);
  const int64_t rows = std::min(factor, image.height), columns = std::min(factor, image.width);
  for (int64_t y = 0; y < small.height; ++y) {
    for (int64_t x = 0; x < small.width; ++x) {
      for (int64_t c = 0; c < image.channels; ++c) {
        int64_t sum = 0;
        for (int64_t i = 0; i < rows * columns; ++i) {
          const int64_t row = y * factor + i / columns, column = x * factor + i % columns;
          sum += image.pixels[(row * image.width + column) * image.channels + c];
        }
        small.pixels.push_back(static_cast<uint8_t>((sum + rows * columns / 2) / (rows * columns)));
      }
    }
  }
  return small;
}

// Coarse maps are made smooth here, before colouring: browsers would mix colours, which are not on the scale.
at::Tensor smooth(const at::Tensor& map, const io::Image& image) {
  const double longer = static_cast<double>(std::max(image.width, image.height));
  const auto side = [longer](int64_t pixels) {
    return std::max<int64_t>(
        1, std::lround(static_cast<double>(kSmoothSide) * static_cast<double>(pixels) / longer));
  };
  return upscale_map(map, side(image.height), side(image.width));
}

std::string layered(const std::string& kind, const std::string& uri, const std::string& alt) {
  return fmt::format(
      R"(<div class="stack"><div class="photo"></div><img class="{}" src="{}" alt="{}"></div>)", kind, uri,
      escape_html(alt));
}

std::string verdict(const GalleryItem& item, const ModelView& view) {
  if (item.label.empty() || view.scores.empty()) return {};
  return view.scores.front().name == item.label ? R"(<span class="mark ok" title="right">&#10003;</span>)"
                                                : R"(<span class="mark no" title="wrong">&#10007;</span>)";
}

std::string score_rows(const ModelView& view) {
  std::string out = R"(<ol class="scores">)";
  for (size_t i = 0; i < std::min(kShownScores, view.scores.size()); ++i) {
    const double percent = 100 * view.scores[i].probability;
    out += fmt::format(R"(<li style="--p:{:.1f}%"><span>{}</span><b>{:.1f}%</b></li>)", percent,
                       escape_html(view.scores[i].name), percent);
  }
  return out + "</ol>";
}

std::string map_figure(const GalleryItem& item, const ModelView& view, const MapView& shown) {
  const std::string alt = fmt::format("{} of {} on {}", shown.method, view.model, item.name);
  const std::string uri = data_uri(colourise(smooth(shown.map, item.image), kColours));
  const std::string note = shown.note.empty() ? "" : fmt::format("<br>{}", escape_html(shown.note));
  return fmt::format(R"(<figure>{}<figcaption>{}<small>{} &ndash; {}{}</small></figcaption></figure>)",
                     layered("heat", uri, alt), escape_html(shown.method), short_number(shown.low),
                     short_number(shown.high), note);
}

std::string grid_details(const GalleryItem& item, const ModelView& view, const MapGrid& grid) {
  if (grid.maps.size() != grid.rows.size() * grid.columns.size()) {
    throw usage_error("gallery_html",
                      fmt::format("a grid has rows x columns maps; found {} x {} and {} maps.",
                                  grid.rows.size(), grid.columns.size(), grid.maps.size()));
  }
  std::string out = fmt::format(
      R"(<details><summary>{}: {}</summary><div class="scroll"><table class="grid"><tr><th></th>)",
      escape_html(view.model), escape_html(grid.title));
  for (const auto& column : grid.columns) out += "<th>" + escape_html(column) + "</th>";
  out += "</tr>";
  for (size_t i = 0; i < grid.rows.size(); ++i) {
    out += "<tr><th>" + escape_html(grid.rows[i]) + "</th>";
    for (size_t j = 0; j < grid.columns.size(); ++j) {
      const std::string alt =
          fmt::format("{}: {} {} on {}", view.model, grid.rows[i], grid.columns[j], item.name);
      const std::string uri = data_uri(colourise(grid.maps[i * grid.columns.size() + j], kColours));
      out += "<td>" + layered("heat cells", uri, alt) + "</td>";
    }
    out += "</tr>";
  }
  return out + "</table></div></details>";
}

std::string model_block(const GalleryItem& item, const ModelView& view) {
  std::string out =
      fmt::format(R"(<div class="view" style="--n:{}"><h4>{}{}</h4><div class="maps">)",
                  std::max<size_t>(1, view.maps.size()), escape_html(view.model), verdict(item, view));
  for (const auto& shown : view.maps) out += map_figure(item, view, shown);
  return out + "</div>" + score_rows(view) + "</div>";
}

std::string card(const GalleryItem& item) {
  const io::Image small = thumbnail(item.image);
  const char* state = item.label.empty() ? "none" : has_error(item) ? "wrong" : "right";
  const char* scaling = std::max(small.width, small.height) < 96 ? " pixelated" : "";
  std::string out =
      fmt::format(R"(<article class="card{}" data-state="{}" style="--photo:url({});--ratio:{}/{}"><header>)",
                  scaling, state, data_uri(small), small.width, small.height);
  if (!item.label.empty()) out += fmt::format("<h3>{}</h3>", escape_html(item.label));
  out +=
      fmt::format(R"(<span class="name">{}</span></header><div class="card-body">)", escape_html(item.name));
  out += R"(<div class="view" style="--n:1"><h4>Image</h4><div class="maps"><figure><div class="stack">)"
         R"(<div class="photo"></div></div></figure></div></div>)";
  for (const auto& view : item.views) out += model_block(item, view);
  out += "</div>";
  for (const auto& view : item.views) {
    for (const auto& grid : view.grids) out += grid_details(item, view, grid);
  }
  return out + "</article>";
}

std::string controls(const std::vector<GalleryItem>& items) {
  const auto labelled = [](const GalleryItem& item) { return !item.label.empty(); };
  std::string out = R"(<div class="controls">)";
  if (std::any_of(items.begin(), items.end(), labelled)) {
    const auto wrong = std::count_if(items.begin(), items.end(), has_error);
    const auto known = std::count_if(items.begin(), items.end(), labelled);
    out += fmt::format(R"(<div class="filter" role="group" aria-label="Show">)"
                       R"(<button data-show="all" aria-pressed="true">All {}</button>)"
                       R"(<button data-show="right" aria-pressed="false">Right {}</button>)"
                       R"(<button data-show="wrong" aria-pressed="false">Wrong {}</button></div>)",
                       items.size(), known - wrong, wrong);
  }
  out += R"(<label class="slider">Heat map <input type="range" min="0" max="100" value="65" )"
         R"(aria-label="Opacity of the heat map"></label>)";
  io::Image scale = colourise(at::linspace(0, 1, 64).unsqueeze(0), kColours);
  out += fmt::format(
      R"(<span class="scale"><small>low</small><img src="{}" alt="Colour scale from low to high">)"
      "<small>high</small></span></div>",
      data_uri(scale));
  return out;
}

}  // namespace

bool has_error(const GalleryItem& item) {
  return !item.label.empty() &&
         std::any_of(item.views.begin(), item.views.end(), [&item](const ModelView& view) {
           return !view.scores.empty() && view.scores.front().name != item.label;
         });
}

std::string gallery_html(const std::vector<GalleryItem>& items) {
  size_t columns = 3;
  for (const auto& item : items) {
    size_t cells = 1;
    for (const auto& view : item.views) cells += std::max<size_t>(1, view.maps.size());
    columns = std::max(columns, cells);
  }
  std::string out = controls(items) + fmt::format(R"(<div class="gallery" style="--cells:{}">)", columns);
  for (const auto& item : items) out += card(item);
  return out + "</div>";
}

}  // namespace fovea::explain
