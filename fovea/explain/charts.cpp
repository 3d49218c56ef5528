#include "fovea/explain/charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "fovea/explain/html.h"

namespace fovea::explain {
namespace {

constexpr double kWidth = 440, kHeight = 250, kLeft = 48, kRight = 12, kTop = 34, kBottom = 42;
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

struct Frame {
  Range x, y;
  double px(double v) const { return kLeft + (v - x.low) / (x.high - x.low) * (kWidth - kLeft - kRight); }
  double py(double v) const {
    return kHeight - kBottom - (v - y.low) / (y.high - y.low) * (kHeight - kTop - kBottom);
  }
};

Frame frame_of(const LineChart& chart) {
  Frame frame;
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
  const double floor = kHeight - kBottom;
  out += fmt::format(R"svg(<path d="M{:.1f} {:.1f}H{:.1f}" stroke="var(--muted,#667)"/>)svg", kLeft, floor,
                     kWidth - kRight);
  for (const double tick : nice_ticks(frame.x.low, frame.x.high, 6)) {
    const double x = frame.px(tick);
    out += fmt::format(R"svg(<path d="M{:.1f} {:.1f}v4" stroke="var(--muted,#667)"/>)svg", x, floor);
    out += text(x, floor + 16, fmt::format(R"({} text-anchor="middle")", kMuted), label(tick));
  }
  const std::string middle = fmt::format(R"({} text-anchor="middle")", kMuted);
  out += text((kLeft + kWidth - kRight) / 2, kHeight - 8, middle, chart.x_label);
  const double centre = (kTop + floor) / 2;
  out += text(12, centre, fmt::format(R"svg({} transform="rotate(-90 12 {:.1f})")svg", middle, centre),
              chart.y_label);
  return out;
}

std::string colour(size_t index) {
  static constexpr const char* kColours[kPalette] = {"#2f6db5", "#c8622b", "#2e8b6a",
                                                     "#8a5bb0", "#b0432f", "#5d6b7a"};
  return fmt::format("var(--series-{},{})", index % kPalette + 1, kColours[index % kPalette]);
}

std::string line(const Series& series, const Frame& frame, size_t index) {
  std::string path;
  bool open = false;
  size_t drawn = 0;
  std::array<double, 2> last{0, 0};
  for (const auto& p : thin(series.points)) {
    if (!drawable(p)) {
      open = false;
      continue;
    }
    last = {frame.px(p[0]), std::clamp(frame.py(p[1]), kTop - 2, kHeight - kBottom)};
    path += fmt::format("{}{:.1f} {:.1f}", open ? "L" : "M", last[0], last[1]);
    open = true;
    ++drawn;
  }
  // A path of one point draws nothing.
  if (drawn == 1) {
    return fmt::format(R"(<circle cx="{:.1f}" cy="{:.1f}" r="3" fill="{}"/>)", last[0], last[1],
                       colour(index));
  }
  return fmt::format(R"(<path d="{}" fill="none" stroke="{}" stroke-width="1.8" stroke-linejoin="round"/>)",
                     path, colour(index));
}

std::string legend(const LineChart& chart) {
  std::string out;
  double x = kLeft;
  for (size_t i = 0; i < chart.series.size(); ++i) {
    const std::string& name = chart.series[i].name;
    if (name.empty()) continue;
    out += fmt::format(R"(<path d="M{:.1f} 20h14" stroke="{}" stroke-width="2.4"/>)", x, colour(i));
    out += text(x + 19, 24, R"svg(fill="var(--ink,#223)" font-size="12")svg", name);
    x += 19 + 6.6 * static_cast<double>(name.size()) + 18;
  }
  return out;
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
  const Frame frame = frame_of(chart);
  std::string out = fmt::format(
      R"(<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}" font-family="inherit">)", kWidth,
      kHeight, escape_html(chart.title));
  out += axes(chart, frame);
  for (size_t i = 0; i < chart.series.size(); ++i) out += line(chart.series[i], frame, i);
  return out + legend(chart) + "</svg>";
}

}  // namespace fovea::explain
