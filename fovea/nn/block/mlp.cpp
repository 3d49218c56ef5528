#include "fovea/nn/block/mlp.h"

namespace fovea::nn {

MlpImpl::MlpImpl(int64_t dim, int64_t hidden, double drop_rate) {
  fc1 = register_module("fc1", Linear(dim, hidden));
  act = register_module("act", GELU());
  fc2 = register_module("fc2", Linear(hidden, dim));
  drop = register_module("drop", Dropout(drop_rate));
}

at::Tensor MlpImpl::forward(const at::Tensor& x) {
  at::Tensor out = drop->forward(fc2->forward(drop->forward(act->forward(fc1->forward(x)))));
  tap(*this, x, out);
  return out;
}

}  // namespace fovea::nn
