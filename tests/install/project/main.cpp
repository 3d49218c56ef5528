// Uses the installed library as a stranger would: attention, and a network by its name.
#include <ATen/ops/rand.h>
#include <fovea/fovea.h>

#include <cstdio>
#include <nlohmann/json.hpp>

static void print_shape(const char* what, const at::Tensor& tensor) {
  std::printf("%s (", what);
  for (int64_t i = 0; i < tensor.dim(); ++i) {
    std::printf("%s%lld", i ? ", " : "", static_cast<long long>(tensor.size(i)));
  }
  std::puts(")");
}

int main() {
  const at::Tensor q = at::rand({2, 3, 5, 4});
  print_shape("attend", fovea::attend(q, q, q).out);

  const nlohmann::json config = {{"img_size", 28}, {"patch_size", 7}, {"in_chans", 1}, {"num_classes", 10}};
  const auto vit = fovea::models::make_image_model("vit_tiny", config);
  vit->eval();
  print_shape("vit", vit->forward(at::rand({2, 1, 28, 28})));
}
