// The example of README.md, which a test compares with this file.
#include <ATen/ATen.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "fovea/fovea.h"

int main() {
  // Attention under a mask of your own: (batch, heads, queries, channels), true = may be seen.
  const at::Tensor q = at::randn({1, 3, 16, 32});
  fovea::AttendOptions options;
  options.mask = at::ones({16, 16}, at::kBool).tril();
  options.weights = true;
  const at::Tensor weights = fovea::attend(q, q, q, options).weights;
  std::cout << "query 2 looks at keys 0 to 3 with\n" << weights[0][0][2].narrow(0, 0, 4) << "\n";

  // A network by its name (random weights; load_weights() reads a file), and where in an image it looks.
  const auto vit = fovea::models::make_image_model("vit_tiny", {{"num_classes", 10}});
  const at::Tensor image = at::randn({1, 3, 224, 224});
  const auto found = fovea::explain::make_explainer("rollout")->explain(*vit, image);
  std::cout << "class " << found.target << " rests on a map of " << found.map.sizes() << "\n";
}
