#include "fovea/ops/describe.h"

#include <array>
#include <cctype>
#include <charconv>

namespace fovea {

std::string describe_shape(at::IntArrayRef shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + ")";
}

std::string describe_number(double number) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number).ptr;
  return {text.data(), end};
}

std::string describe(const at::Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  std::string type = c10::toString(tensor.scalar_type());
  for (char& c : type) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return describe_shape(tensor.sizes()) + " " + type + " " + tensor.device().str();
}

}  // namespace fovea
