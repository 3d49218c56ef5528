#include "fovea/nn/attention/approximation.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "fovea/core/error.h"
#include "fovea/nn/attention/registry.h"

namespace fovea::nn {
namespace {

std::shared_ptr<Attention> built(const std::string& text, const AttentionInput& input) {
  AttentionShape shape;
  shape.heads = input.q.size(1), shape.kv_heads = input.k.size(1);
  shape.head_dim = input.q.size(3), shape.value_dim = input.v.size(3);
  shape.width = input.x.defined() ? input.x.size(2) : 0;
  shape.grid = input.grid;
  auto attention = parse_attention(text).build(shape);
  attention->eval();
  return attention;
}

int64_t products(Attention& attention, const AttentionInput& input) {
  return attention.cost(input.q.size(2), input.k.size(2), input.q.size(3)).multiply_adds;
}

}  // namespace

std::string filled_in(std::string text, const std::string& name, int64_t number) {
  const std::string place = "{" + name + "}", digits = std::to_string(number);
  for (size_t at = text.find(place); at != std::string::npos; at = text.find(place, at + digits.size())) {
    text.replace(at, place.size(), digits);
  }
  return text;
}

std::string exact_form(const std::string& mechanism, int64_t n) {
  return mechanism == "lsh" ? filled_in("lsh:rounds=1,chunk={n}", "n", n) : "softmax";
}

ApproximationError approximation_error(const std::string& text, const AttentionInput& input, int64_t seeds) {
  if (seeds < 1) {
    throw usage_error("approximation", "seeds must be at least 1", std::to_string(seeds),
                      "Give one or more.");
  }
  const at::NoGradGuard no_grad;
  const auto first = built(filled_in(text, "seed", 0), input);
  const auto exact = built(exact_form(first->mechanism(), input.q.size(2)), input);
  const at::Tensor wanted = exact->forward(input).out;
  const int64_t runs = text.find("{seed}") == std::string::npos ? 1 : seeds;
  double sum = 0.0, squares = 0.0;
  for (int64_t seed = 0; seed < runs; ++seed) {
    const auto attention = seed == 0 ? first : built(filled_in(text, "seed", seed), input);
    const at::Tensor out = attention->forward(input).out;
    const double error = (out - wanted).norm().item<double>() / wanted.norm().item<double>();
    sum += error, squares += error * error;
  }
  const auto count = static_cast<double>(runs);
  const double mean = sum / count;
  const double variance = runs > 1 ? (squares - count * mean * mean) / (count - 1) : 0.0;
  return {mean, std::sqrt(std::max(variance, 0.0)), products(*first, input), products(*exact, input)};
}

}  // namespace fovea::nn
