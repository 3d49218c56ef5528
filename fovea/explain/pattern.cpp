#include "fovea/explain/pattern.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <string_view>
#include <vector>

#include "fovea/core/error.h"
#include "fovea/explain/colormap.h"
#include "fovea/explain/scale_bar.h"
#include "fovea/nn/attention/registry.h"
#include "fovea/nn/surroundings.h"

namespace fovea::explain {
namespace {

constexpr int64_t kPositions = 64, kChannels = 64, kGridSide = 8, kRun = 4, kMostPatternHeads = 16;
constexpr uint64_t kParameterSeed = 0;
constexpr double kParameterNoise = 0.1;
constexpr int64_t kCellPixels = 4, kPanelGap = 12;
constexpr double kColourSteps = 64.0;
constexpr Rgb kUnseen{226, 226, 230}, kBetween{255, 255, 255};

// (N, D): rows of Hadamard's matrix for the kinds, which are at right angles, and slow waves over positions.
at::Tensor content() {
  constexpr std::string_view kKinds = "ABACBDACDBCADBDC";
  constexpr double kKind = 0.6124, kWave = 0.5, kSlowest = 6.283185307179586 / 512.0;
  at::Tensor rows = at::empty({kPositions, kChannels}, at::kFloat);
  float* number = rows.mutable_data_ptr<float>();
  for (int64_t i = 0; i < kPositions; ++i) {
    const auto kind = static_cast<uint64_t>(kKinds[i / kRun] - 'A');
    for (int64_t c = 0; c < kChannels; ++c) {
      const uint64_t row_of_matrix = 11 + 13 * kind;
      const double sign = std::popcount(row_of_matrix & static_cast<uint64_t>(c)) % 2 == 0 ? 1.0 : -1.0;
      const double angle = kSlowest * static_cast<double>((c / 2 + 1) * i);
      *number++ = static_cast<float>(kKind * sign + kWave * (c % 2 == 0 ? std::cos(angle) : std::sin(angle)));
    }
  }
  return rows;
}

nn::AttentionInput sequence(int64_t heads) {
  nn::AttentionInput input;
  const at::Tensor rows = content();
  std::vector<at::Tensor> keys;
  for (int64_t h = 0; h < heads; ++h) keys.push_back(rows.roll(-h * kRun, 0));
  input.x = rows.unsqueeze(0);
  input.q = rows.repeat({1, heads, 1, 1});
  input.k = at::stack(keys).unsqueeze(0);
  input.v = at::eye(kPositions).repeat({1, heads, 1, 1});
  input.grid = nn::GridPositions{kGridSide, kGridSide, 0};
  return input;
}

// What the result owes to the values: some mechanisms add what asked to what was read.
at::Tensor weights_of(nn::Attention& attention, const nn::AttentionInput& input) {
  nn::AttentionInput nothing = input;
  nothing.v = at::zeros_like(input.v);
  const at::Tensor weights = (attention.forward(input).out - attention.forward(nothing).out).squeeze(0);
  if (!weights.isfinite().all().item<bool>()) {
    throw numeric_error(
        attention.mechanism(),
        "the weights of a pattern must be finite; found NaN or infinity. Choose other options.");
  }
  return weights;
}

// Whether a query sees what comes after it.
bool looks_ahead(const at::Tensor& weights) { return weights.triu(1).count_nonzero().item<int64_t>() > 0; }

// What numbers look like.
struct WeightColours {
  const ColorMap& colours;
  double low, high;

  Rgb at(double weight) const {
    if (weight == 0.0) return kUnseen;
    // Few colours make small files.
    return colours.at(std::round((weight - low) / (high - low) * kColourSteps) / kColourSteps);
  }
};

void draw_panel(io::Image& canvas, int64_t left, int64_t top, const at::Tensor& weights,
                const WeightColours& colours) {
  const at::Tensor cells = weights.to(at::kDouble).contiguous();
  const double* number = cells.const_data_ptr<double>();
  const int64_t columns = cells.size(1);
  for (int64_t y = 0; y < cells.size(0) * kCellPixels; ++y) {
    for (int64_t x = 0; x < columns * kCellPixels; ++x) {
      const Rgb colour = colours.at(number[y / kCellPixels * columns + x / kCellPixels]);
      uint8_t* pixel = canvas.pixels.data() + ((top + y) * canvas.width + left + x) * 3;
      pixel[0] = colour.r, pixel[1] = colour.g, pixel[2] = colour.b;
    }
  }
}

}  // namespace

Pattern mechanism_pattern(const std::string& mechanism, int64_t heads) {
  if (heads < 1 || heads > kMostPatternHeads) {
    throw usage_error("mechanism_pattern", fmt::format("heads lie in 1 ... {}", kMostPatternHeads),
                      std::to_string(heads), "Choose fewer.");
  }
  const at::NoGradGuard no_grad;
  // Parameters are drawn from torch's generator, which is afterwards as it was.
  const nn::SurroundingsScope as_it_was(nn::Surroundings({}, {}, /*random=*/true));
  at::manual_seed(kParameterSeed);
  nn::AttentionInput input = sequence(heads);
  const auto attention =
      nn::parse_attention(mechanism).build({heads, heads, kChannels, kPositions, kChannels, input.grid});
  if (attention->block()) {
    throw usage_error(attention->mechanism(), "a pattern has no mask of blocks to give", "the option block",
                      "Leave it out.");
  }
  attention->eval();
  for (const at::Tensor& parameter : attention->parameters()) {
    parameter.add_(at::randn_like(parameter), kParameterNoise);
  }
  Pattern pattern{weights_of(*attention, input), {}};
  if (attention->traits().causal_ok && looks_ahead(pattern.weights)) {
    input.call.causal = CausalAlignment::top_left;
    pattern.causal = weights_of(*attention, input);
  }
  return pattern;
}

io::Image pattern_picture(const Pattern& pattern) {
  std::vector<at::Tensor> panels = pattern.weights.unbind();
  const auto heads = static_cast<int64_t>(panels.size());
  if (pattern.causal.defined()) {
    for (const at::Tensor& panel : pattern.causal.unbind()) panels.push_back(panel);
  }
  const at::Tensor all = at::stack(panels);
  const double low = std::min(all.min().item<double>(), 0.0), highest = pattern.weights.max().item<double>();
  const WeightColours colours{color_map("viridis"), low, highest > low ? highest : low + 1.0};

  const auto count = static_cast<int64_t>(panels.size()), columns = heads == 1 ? count : heads;
  const int64_t side = all.size(-1) * kCellPixels, step = side + kPanelGap;
  io::Image canvas;
  canvas.width = columns * step - kPanelGap;
  canvas.height = count / columns * step - kPanelGap;
  canvas.channels = 3;
  canvas.pixels.assign(canvas.width * canvas.height * 3, kBetween.r);
  for (int64_t p = 0; p < count; ++p) {
    draw_panel(canvas, p % columns * step, p / columns * step, panels[p], colours);
  }
  return with_scale_bar(canvas, colours.colours, colours.low, colours.high);
}

}  // namespace fovea::explain
