#include "fovea/nn/attention/approximation.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "fovea/core/error.h"
#include "fovea/nn/attention/registry.h"

namespace fovea::nn {

std::string filled_in(std::string text, const std::string& name, int64_t number) {
  const std::string place = "{" + name + "}", digits = std::to_string(number);
  for (size_t at = text.find(place); at != std::string::npos; at = text.find(place, at + digits.size())) {
    text.replace(at, place.size(), digits);
  }
  return text;
}

Approximations::Approximations(AttentionInput input) : input_(std::move(input)) {}

std::shared_ptr<Attention> Approximations::built(const std::string& text) const {
  AttentionShape shape;
  shape.heads = input_.q.size(1), shape.kv_heads = input_.k.size(1);
  shape.head_dim = input_.q.size(3), shape.value_dim = input_.v.size(3);
  shape.width = input_.x.defined() ? input_.x.size(2) : 0;
  shape.grid = input_.grid;
  auto attention = parse_attention(text).build(shape);
  attention->eval();
  return attention;
}

std::shared_ptr<Attention> Approximations::checked(const std::string& text) const {
  auto attention = built(filled_in(text, "seed", 0));
  if (attention->runs_untrained()) return attention;
  throw usage_error("approximation", "a mechanism must approximate before it is trained",
                    fmt::format("{}, which learns {}", attention->mechanism(),
                                fmt::join(attention->named_parameters().keys(), ", ")),
                    "Measure another one.");
}

void Approximations::check(const std::string& text) const { checked(text); }

int64_t Approximations::products(const Attention& attention) const {
  return attention.cost(input_.q.size(2), input_.k.size(2), input_.q.size(3)).multiply_adds;
}

const Approximations::Exact& Approximations::exact(const std::string& form) {
  const auto found = exact_.find(form);
  if (found != exact_.end()) return found->second;
  const auto attention = built(form);
  return exact_[form] = {attention->forward(input_).out, products(*attention)};
}

ApproximationError Approximations::error_of(const std::string& text, int64_t seeds) {
  if (seeds < 1) {
    throw usage_error("approximation", "seeds must be at least 1", std::to_string(seeds),
                      "Give one or more.");
  }
  const at::NoGradGuard no_grad;
  const auto first = checked(text);
  const Exact& wanted = exact(first->exact_form(input_.q.size(2)));
  const int64_t runs = text.find("{seed}") == std::string::npos ? 1 : seeds;
  double sum = 0.0, squares = 0.0;
  for (int64_t seed = 0; seed < runs; ++seed) {
    const auto attention = seed == 0 ? first : built(filled_in(text, "seed", seed));
    const at::Tensor out = attention->forward(input_).out;
    const double error = (out - wanted.out).norm().item<double>() / wanted.out.norm().item<double>();
    sum += error, squares += error * error;
  }
  const auto count = static_cast<double>(runs);
  const double mean = sum / count;
  const double variance = runs > 1 ? (squares - count * mean * mean) / (count - 1) : 0.0;
  return {mean, std::sqrt(std::max(variance, 0.0)), products(*first), wanted.multiply_adds};
}

}  // namespace fovea::nn
