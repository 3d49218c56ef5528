#include "fovea/explain/charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "fovea/explain/html.h"

namespace fovea::explain {
namespace {

constexpr double kWidth = 440, kHeight = 250, kLeft = 48, kRight = 12, kBottom = 42, kLegendRow = 18;
constexpr size_t kMaxPoints = 400, kPalette = 6;

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -std::numeric_limits<double>::infinity();
  void add(double v) {
    low = std::min(low, v);
    high = std::max(high, v);
  }
  // Something to draw on when there is no point, or one only.
  void mend() {
    if (!(low <= high)) low = 0, high = 1;
    if (low == high) {
      const double pad = low == 0 ? 1 : std::abs(low) / 2;
      low -= pad, high += pad;
    }
  }
};

bool drawable(const std::array<double, 2>& p) { return std::isfinite(p[0]) && std::isfinite(p[1]); }

// Means of runs of neighbours, so that a curve of 100,000 steps stays small and readable.
std::vector<std::array<double, 2>> thin(const std::vector<std::array<double, 2>>& points) {
  if (points.size() <= kMaxPoints) return points;
  const size_t run = (points.size() + kMaxPoints - 1) / kMaxPoints;
  std::vector<std::array<double, 2>> out;
  for (size_t i = 0; i < points.size(); i += run) {
    const size_t n = std::min(run, points.size() - i);
    std::array<double, 2> sum{0, 0};
    for (size_t k = i; k < i + n; ++k) sum[0] += points[k][0], sum[1] += points[k][1];
    out.push_back({sum[0] / static_cast<double>(n), sum[1] / static_cast<double>(n)});
  }
  return out;
}

// Where a series is named: the start of its dash, its line of the legend, and letters that fit it.
struct LegendPlace {
  double x;
  int row;
  double font_size;
};

constexpr double kDash = 19, kLegendGap = 18, kFontSize = 12, kLetter = 6.6;

double name_width(const Series& series) { return kLetter * static_cast<double>(series.name.size()); }

std::vector<LegendPlace> legend_places(const LineChart& chart) {
  std::vector<LegendPlace> places;
  LegendPlace next{kLeft, 0, kFontSize};
  constexpr double kRoom = kWidth - kLeft - kDash - kRight;
  for (const Series& series : chart.series) {
    const double width = series.name.empty() ? 0 : kDash + name_width(series);
    if (next.x > kLeft && next.x + width > kWidth) next = {kLeft, next.row + 1, kFontSize};
    places.push_back(next);
    places.back().font_size = kFontSize * std::min(1.0, kRoom / std::max(name_width(series), 1.0));
    next.x += width > 0 ? width + kLegendGap : 0;
  }
  return places;
}

// Each row of names beyond the first makes the picture taller: the curves keep their room.
double rows_below_first(const LineChart& chart) {
  const auto places = legend_places(chart);
  return places.empty() ? 0 : kLegendRow * places.back().row;
}

double height_of(const LineChart& chart) { return kHeight + rows_below_first(chart); }

struct Frame {
  Range x, y;
  double top = 34, bottom = 0;
  double px(double v) const { return kLeft + (v - x.low) / (x.high - x.low) * (kWidth - kLeft - kRight); }
  double py(double v) const { return bottom - (v - y.low) / (y.high - y.low) * (bottom - top); }
};

Frame frame_of(const LineChart& chart) {
  Frame frame;
  frame.top += rows_below_first(chart);
  frame.bottom = height_of(chart) - kBottom;
  for (const auto& series : chart.series) {
    for (const auto& p : thin(series.points)) {
      if (drawable(p)) frame.x.add(p[0]), frame.y.add(p[1]);
    }
  }
  frame.x.mend();
  frame.y.mend();
  const double pad = (frame.y.high - frame.y.low) * 0.04;
  frame.y.low = chart.y_low.value_or(frame.y.low - pad);
  frame.y.high = chart.y_high.value_or(frame.y.high + pad);
  frame.y.mend();
  return frame;
}

std::string label(double tick) {
  if (std::abs(tick) >= 10000) return fmt::format("{:g}k", tick / 1000);
  return fmt::format("{:g}", std::abs(tick) < 1e-12 ? 0.0 : tick);
}

std::string text(double x, double y, const std::string& attributes, const std::string& content) {
  return fmt::format(R"(<text x="{:.1f}" y="{:.1f}" {}>{}</text>)", x, y, attributes, escape_html(content));
}

std::string axes(const LineChart& chart, const Frame& frame) {
  constexpr const char* kMuted = R"svg(class="tick" fill="var(--muted,#667)" font-size="11")svg";
  std::string out;
  for (const double tick : nice_ticks(frame.y.low, frame.y.high, 5)) {
    const double y = frame.py(tick);
    out += fmt::format(R"svg(<path d="M{:.1f} {:.1f}H{:.1f}" stroke="var(--grid,#ddd)"/>)svg", kLeft, y,
                       kWidth - kRight);
    out += text(kLeft - 6, y + 4, fmt::format(R"({} text-anchor="end")", kMuted), label(tick));
  }
  const double floor = frame.bottom;
  out += fmt::format(R"svg(<path d="M{:.1f} {:.1f}H{:.1f}" stroke="var(--muted,#667)"/>)svg", kLeft, floor,
                     kWidth - kRight);
  for (const double tick : nice_ticks(frame.x.low, frame.x.high, 6)) {
    const double x = frame.px(tick);
    out += fmt::format(R"svg(<path d="M{:.1f} {:.1f}v4" stroke="var(--muted,#667)"/>)svg", x, floor);
    out += text(x, floor + 16, fmt::format(R"({} text-anchor="middle")", kMuted), label(tick));
  }
  const std::string middle = fmt::format(R"({} text-anchor="middle")", kMuted);
  out += text((kLeft + kWidth - kRight) / 2, floor + kBottom - 8, middle, chart.x_label);
  const double centre = (frame.top + floor) / 2;
  out += text(12, centre, fmt::format(R"svg({} transform="rotate(-90 12 {:.1f})")svg", middle, centre),
              chart.y_label);
  return out;
}

std::string colour(size_t index) {
  static constexpr const char* kColours[kPalette] = {"#2f6db5", "#c8622b", "#2e8b6a",
                                                     "#8a5bb0", "#b0432f", "#5d6b7a"};
  return fmt::format("var(--series-{},{})", index % kPalette + 1, kColours[index % kPalette]);
}

// Runs of points that can be drawn: a line each, a dot where a point stands alone.
std::string line(const Series& series, const Frame& frame, size_t index) {
  std::vector<std::vector<std::array<double, 2>>> runs(1);
  for (const auto& p : thin(series.points)) {
    if (drawable(p)) {
      runs.back().push_back({frame.px(p[0]), std::clamp(frame.py(p[1]), frame.top - 2, frame.bottom)});
    } else if (!runs.back().empty()) {
      runs.emplace_back();
    }
  }
  std::string path, dots;
  for (const auto& run : runs) {
    if (run.size() == 1) {
      dots += fmt::format(R"(<circle cx="{:.1f}" cy="{:.1f}" r="3" fill="{}"/>)", run[0][0], run[0][1],
                          colour(index));
      continue;
    }
    for (size_t i = 0; i < run.size(); ++i) {
      path += fmt::format("{}{:.1f} {:.1f}", i == 0 ? "M" : "L", run[i][0], run[i][1]);
    }
  }
  if (path.empty()) return dots;
  return fmt::format(R"(<path d="{}" fill="none" stroke="{}" stroke-width="1.8" stroke-linejoin="round"/>)",
                     path, colour(index)) +
         dots;
}

std::string legend(const LineChart& chart) {
  std::string out;
  const auto places = legend_places(chart);
  for (size_t i = 0; i < chart.series.size(); ++i) {
    const std::string& name = chart.series[i].name;
    if (name.empty()) continue;
    const double x = places[i].x, y = 20 + kLegendRow * places[i].row;
    out += fmt::format(R"(<path d="M{:.1f} {:.1f}h14" stroke="{}" stroke-width="2.4"/>)", x, y, colour(i));
    out += text(x + kDash, y + 4,
                fmt::format(R"svg(fill="var(--ink,#223)" font-size="{:.3g}")svg", places[i].font_size), name);
  }
  return out;
}

std::string drawing(const LineChart& chart) {
  const Frame frame = frame_of(chart);
  std::string out = axes(chart, frame);
  for (size_t i = 0; i < chart.series.size(); ++i) out += line(chart.series[i], frame, i);
  return out + legend(chart);
}

// Programs that draw files know colours alone: each variable gives way to its default.
std::string plain_colours(std::string svg) {
  for (size_t at = svg.find("var("); at != std::string::npos; at = svg.find("var(", at)) {
    const size_t comma = svg.find(',', at), end = svg.find(')', at);
    svg.replace(at, end + 1 - at, svg.substr(comma + 1, end - comma - 1));
  }
  return svg;
}

}  // namespace

std::vector<double> nice_ticks(double low, double high, int about) {
  if (!std::isfinite(low) || !std::isfinite(high) || !(low < high) || about < 1) return {};
  const double rough = (high - low) / about;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 2.5, 5.0}) {
    if (factor * power >= rough * (1 - 1e-9)) {
      step = factor * power;
      break;
    }
  }
  std::vector<double> ticks;
  const auto first = static_cast<int64_t>(std::ceil(low / step - 1e-9));
  const auto last = static_cast<int64_t>(std::floor(high / step + 1e-9));
  for (int64_t i = first; i <= last; ++i) ticks.push_back(static_cast<double>(i) * step);
  return ticks;
}

std::string line_chart_svg(const LineChart& chart) {
  return fmt::format(
             R"(<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}" font-family="inherit">)",
             kWidth, height_of(chart), escape_html(chart.title)) +
         drawing(chart) + "</svg>";
}

std::string line_chart_file(const LineChart& chart) {
  return fmt::format(
             R"(<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="{1}" viewBox="0 0 {0} {1}" font-family="sans-serif"><title>{2}</title><rect width="{0}" height="{1}" fill="#fff"/>)",
             kWidth, height_of(chart), escape_html(chart.title)) +
         plain_colours(drawing(chart)) + "</svg>\n";
}

}  // namespace fovea::explain
