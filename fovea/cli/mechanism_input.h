#pragma once
#include <optional>
#include <string>

#include "fovea/io/tensors.h"
#include "fovea/nn/attention/attention.h"

namespace fovea::cli {

// The tensors that `fovea run mechanism` reads. What is wrong with them throws Error (data) in the file's
// name.

/// All of them: of known names, q, k, v, x and context of floating point types that mechanisms compute in.
io::TensorMap load_mechanism_input(const std::string& file);

const at::Tensor& wanted_tensor(const io::TensorMap& tensors, const std::string& name,
                                const std::string& file);

/// Masks, biases, lengths and their like. A mask of blocks goes with Attention::block().
nn::AttentionCall call_of(const io::TensorMap& tensors, const std::string& file,
                          const nn::Attention& attention);

/// Rows, columns and, if there are any, tokens before them.
std::optional<nn::GridPositions> grid_of(const io::TensorMap& tensors, const std::string& file);

/// Throws unless q, k and v are (B, H, T, D), or (total, H, D) of sequences behind each other.
void require_heads(const nn::AttentionInput& in, bool packed, const std::string& file);

}  // namespace fovea::cli
