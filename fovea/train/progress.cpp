#include "fovea/train/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <vector>

namespace fovea::train {
namespace {

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string steps_text(const Progress& progress) {
  return progress.total > 0 ? fmt::format("{}/{}", progress.step, progress.total)
                            : fmt::format("{}", progress.step);
}

// What is known, most important first. fmt's plain formats ignore the locale.
std::vector<std::string> fields(const Progress& progress) {
  std::vector<std::string> texts;
  if (!std::isnan(progress.loss)) texts.push_back(fmt::format("loss {:.4f}", progress.loss));
  if (!std::isnan(progress.accuracy)) texts.push_back(fmt::format("acc {:.2f}%", progress.accuracy));
  if (!std::isnan(progress.samples_per_second)) {
    const int digits = progress.samples_per_second < 10 ? 2 : 0;
    texts.push_back(fmt::format("{:.{}f} samples/s", progress.samples_per_second, digits));
  }
  if (progress.total > 0) texts.push_back(format_duration(progress.seconds_left) + " left");
  return texts;
}

double done_share(const Progress& progress) {
  return std::clamp(static_cast<double>(progress.step) / static_cast<double>(progress.total), 0.0, 1.0);
}

std::string bar(double share, int cells) {
  const int full = static_cast<int>(share * cells);
  std::string text(cells, ' ');
  std::fill_n(text.begin(), full, '=');
  if (full > 0 && full < cells) text[full - 1] = '>';
  return "[" + text + "]";
}

}  // namespace

void ProgressMeter::Mean::add(double value, double share) {
  sum += share * (value - sum);
  weight += share * (1 - weight);
}

double ProgressMeter::Mean::value() const {
  return weight > 0 ? sum / weight : std::numeric_limits<double>::quiet_NaN();
}

ProgressMeter::ProgressMeter(const ProgressOptions& options)
    : options_(options), value_step_(options.first_step), rate_step_(options.first_step) {
  if (!options_.clock) options_.clock = steady_seconds;
  start_ = last_ = options_.clock();
}

Progress ProgressMeter::update(const ProgressReading& reading) {
  const double now = options_.clock();
  const auto new_values = static_cast<double>(reading.step - value_step_);
  if (new_values > 0) {
    const double share = 1 - std::exp(-new_values / options_.smoothing_steps);
    if (!std::isnan(reading.loss)) loss_.add(reading.loss, share);
    if (!std::isnan(reading.accuracy)) accuracy_.add(reading.accuracy, share);
    value_step_ = reading.step;
  }
  // Readings of a clock too coarse to tell them apart are gathered until it moves.
  const double elapsed = now - last_;
  const auto steps = static_cast<double>(reading.step - rate_step_);
  pending_samples_ += reading.samples;
  if (elapsed > 0 && steps > 0) {
    const double share = 1 - std::exp(-elapsed / options_.smoothing_seconds);
    samples_rate_.add(static_cast<double>(pending_samples_) / elapsed, share);
    step_seconds_.add(elapsed / steps, share);
    pending_samples_ = 0;
    last_ = now;
    rate_step_ = reading.step;
  }
  Progress progress;
  progress.step = reading.step;
  progress.total = options_.total;
  progress.loss = loss_.value();
  progress.accuracy = accuracy_.value();
  progress.samples_per_second = samples_rate_.value();
  progress.seconds = now - start_;
  const auto left = static_cast<double>(std::max<int64_t>(0, options_.total - reading.step));
  progress.seconds_left =
      options_.total > 0 ? left * step_seconds_.value() : std::numeric_limits<double>::quiet_NaN();
  return progress;
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "-:--:--";
  const auto whole = std::llround(seconds);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string terminal_line(const Progress& progress, int width) {
  const size_t room = std::max(0, width);
  std::string head =
      progress.total > 0 ? fmt::format("{:3.0f}% ", std::floor(100 * done_share(progress))) : "";
  std::string tail = steps_text(progress);
  for (const std::string& field : fields(progress)) {
    if (head.size() + tail.size() + 2 + field.size() > room) break;
    tail += "  " + field;
  }
  // A bar under 5 cells tells less than the percentage.
  const int cells = std::min(30, static_cast<int>(room) - static_cast<int>(head.size() + tail.size()) - 3);
  if (progress.total > 0 && cells >= 5) head += bar(done_share(progress), cells) + " ";
  return (head + tail).substr(0, room);
}

std::string plain_line(const Progress& progress) {
  std::string line = "step " + steps_text(progress);
  for (const std::string& field : fields(progress)) line += "  " + field;
  return line;
}

}  // namespace fovea::train
