#include "fovea/data/image_tensor.h"

#include "fovea/data/planes.h"

namespace fovea::data {

at::Tensor image_to_tensor(const io::Image& image) {
  at::Tensor tensor = new_image(image.channels, image.height, image.width);
  uint8_t* out = tensor.mutable_data_ptr<uint8_t>();
  const int64_t area = image.height * image.width, channels = image.channels;
  for (int64_t c = 0; c < channels; ++c) {
    const uint8_t* in = image.pixels.data() + c;
    for (int64_t i = 0; i < area; ++i) *out++ = in[i * channels];
  }
  return tensor;
}

io::Image tensor_to_image(const at::Tensor& image) {
  const Planes in(image);
  io::Image out{in.width, in.height, in.channels, std::vector<uint8_t>(in.channels * in.area())};
  for (int64_t c = 0; c < in.channels; ++c) {
    for (int64_t i = 0; i < in.area(); ++i) out.pixels[i * in.channels + c] = in.plane(c)[i];
  }
  return out;
}

}  // namespace fovea::data
