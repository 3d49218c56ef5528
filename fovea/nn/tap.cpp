#include "fovea/nn/tap.h"

#include <utility>

#include "fovea/nn/recompute.h"

namespace fovea::nn {
namespace {

thread_local TapScope* innermost = nullptr;
thread_local AttentionTapScope* innermost_attention = nullptr;

}  // namespace

TapScope::TapScope(TapListener listener)
    : listener_(std::move(listener)), outer_(std::exchange(innermost, this)) {}

TapScope::~TapScope() { innermost = outer_; }

bool tapped() { return innermost != nullptr; }

void tap(const torch::nn::Module& module, const at::Tensor& input, const at::Tensor& output) {
  if (recomputing()) return;  // the listener heard the first run
  for (TapScope* scope = innermost; scope; scope = scope->outer_) scope->listener_(module, input, output);
}

AttentionTapScope::AttentionTapScope(AttentionListener listener)
    : listener_(std::move(listener)), outer_(std::exchange(innermost_attention, this)) {}

AttentionTapScope::~AttentionTapScope() { innermost_attention = outer_; }

bool attention_tapped() { return innermost_attention != nullptr; }

void tap_attention(const torch::nn::Module& module, const at::Tensor& weights) {
  if (recomputing()) return;
  for (auto* scope = innermost_attention; scope; scope = scope->outer_) scope->listener_(module, weights);
}

}  // namespace fovea::nn
