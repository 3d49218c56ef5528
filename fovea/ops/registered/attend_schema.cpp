#include <torch/library.h>

#include <string>

#include "fovea/ops/registered/attend_arguments.h"

namespace fovea::registered {

// Tensors that may have a gradient come first, see kDifferentiable.
const char* const kArgumentList =
    "Tensor q, Tensor k, Tensor v, Tensor? alibi_slopes=None, Tensor? bias=None, Tensor? "
    "relative_table=None, *, "
    "Tensor? mask=None, Tensor? key_lengths=None, Tensor? query_segments=None, Tensor? key_segments=None, "
    "Tensor? cu_seqlens_q=None, Tensor? cu_seqlens_k=None, Tensor? block_mask=None, int? block_size=None, "
    "float? scale=None, str causal='none', int? window_left=None, int? window_right=None, "
    "float? softcap=None, str normaliser='softmax', float dropout_p=0.0, int? seed=None, bool "
    "enable_gqa=False, "
    "str[]? observe=None";

}  // namespace fovea::registered

TORCH_LIBRARY(fovea, m) {
  const std::string arguments = fovea::registered::kArgumentList;
  m.def(("attend(" + arguments + ") -> Tensor[]").c_str());
  // From those of the results to the gradients of the wanted arguments, in their order.
  m.def(("attend_backward(Tensor?[] grads, bool[6] wanted, " + arguments + ") -> Tensor[]").c_str());
}
