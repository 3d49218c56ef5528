#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace fovea::explain {

/// A curve: (x, y) points in ascending x. Points that are not finite leave a gap; one between gaps is a dot.
struct Series {
  std::string name;
  std::vector<std::array<double, 2>> points;
};

struct LineChart {
  std::string title;
  std::string x_label, y_label;
  std::vector<Series> series;
  /// Ends of the y axis; taken from the points when empty.
  std::optional<double> y_low, y_high;
};

/// At most `about` + 1 round numbers (1, 2, 2.5 or 5 times a power of ten) that cover most of [low, high].
/// Source: Heckbert 1990, Nice numbers for graph labels (Graphics Gems).
std::vector<double> nice_ticks(double low, double high, int about = 5);

/// The chart as inline SVG: axes with round ticks, a thin grid, one line a series, the legend above in as
/// many rows as it needs, by which the picture is taller; a name longer than a row is set in smaller letters.
/// Colours are CSS variables (--ink, --muted, --grid, --series-1 ... --series-6) with defaults, so that it
/// follows the page's theme. A series of more than 400 points is drawn as the means of runs of neighbours.
/// All text is escaped.
std::string line_chart_svg(const LineChart& chart);

/// The same chart as the text of an SVG file of its own, on white.
std::string line_chart_file(const LineChart& chart);

/// Counts of predictions: row = true class, column = predicted class.
struct Confusion {
  std::vector<std::string> classes;
  std::vector<int64_t> counts;  ///< row-major, classes x classes
};

/// The confusion matrix as an HTML table whose shade is the share of the true class, with each class's
/// recall; for more than 24 classes the 20 most frequent confusions instead. Throws fovea::Error (usage) when
/// the number of counts is not the square of the number of classes.
std::string confusion_html(const Confusion& confusion);

}  // namespace fovea::explain
