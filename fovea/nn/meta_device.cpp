#include "fovea/nn/meta_device.h"

#include <ATen/ExpandUtils.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/result_type.h>
#include <torch/library.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

namespace fovea::nn {
namespace {

// The dispatcher's mode key that no backend owns; torch itself gives it no kernels.
constexpr auto kKey = c10::DispatchKey::TESTING_ONLY_GenericMode;

// Replaces every argument `device` of the operator, then runs it.
void create_on_meta(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const c10::impl::ExcludeDispatchKeyGuard leave(kKey);
  const auto& arguments = op.schema().arguments();
  auto values = torch::jit::last(*stack, arguments.size());
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].name() == "device") {
      const_cast<c10::IValue&>(values[i]) = c10::Device(c10::DeviceType::Meta);
    }
  }
  op.callBoxed(stack);
}

// Shapes of what libtorch knows in Python only.
at::Tensor convolution_shape(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>&,
                             at::IntArrayRef stride, at::IntArrayRef padding, at::IntArrayRef dilation,
                             bool transposed, at::IntArrayRef output_padding, int64_t groups) {
  std::vector<int64_t> shape = {x.size(0), transposed ? weight.size(1) * groups : weight.size(0)};
  for (int64_t d = 2; d < x.dim(); ++d) {
    const auto i = static_cast<size_t>(d - 2);
    const int64_t reach = dilation[i] * (weight.size(d) - 1);
    shape.push_back(transposed ? (x.size(d) - 1) * stride[i] - 2 * padding[i] + reach + output_padding[i] + 1
                               : (x.size(d) + 2 * padding[i] - reach - 1) / stride[i] + 1);
  }
  return x.new_empty(shape);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> batch_norm_shape(
    const at::Tensor& x, const std::optional<at::Tensor>&, const std::optional<at::Tensor>&,
    const std::optional<at::Tensor>&, const std::optional<at::Tensor>&, bool training, double, double) {
  const int64_t saved = training ? x.size(1) : 0;
  return {at::empty_like(x), x.new_empty({saved}), x.new_empty({saved})};
}

at::Tensor same_shape(const at::Tensor& x) { return at::empty_like(x); }

at::Tensor same_shape_bool(const at::Tensor& x) { return at::empty_like(x, at::kBool); }

at::Tensor where_shape(const at::Tensor& condition, const at::Tensor& a, const at::Tensor& b) {
  const auto shape = at::infer_size(at::infer_size(condition.sizes(), a.sizes()), b.sizes());
  return a.new_empty(shape, a.options().dtype(at::result_type(a, b)));
}

at::Tensor index_select_shape(const at::Tensor& x, int64_t dim, const at::Tensor& index) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape[static_cast<size_t>(dim < 0 ? dim + x.dim() : dim)] = index.numel();
  return x.new_empty(shape);
}

template <class Kernel>
void add_missing(torch::Library& library, const char* name, Kernel* kernel, const char* overload = "") {
  const auto op = c10::Dispatcher::singleton().findSchemaOrThrow(name, overload);
  if (!op.hasKernelForDispatchKey(c10::DispatchKey::Meta))
    library.impl(*overload ? (std::string(name) + "." + overload).c_str() : name, kernel);
}

// At the first use, not when the library is loaded.
void register_once() {
  static torch::Library mode(torch::Library::IMPL, "_", kKey, __FILE__, __LINE__);
  static torch::Library meta(torch::Library::IMPL, "aten", c10::DispatchKey::Meta, __FILE__, __LINE__);
  static const bool done = [] {
    mode.fallback(torch::CppFunction::makeFromBoxedFunction<&create_on_meta>());
    add_missing(meta, "aten::convolution_overrideable", &convolution_shape);
    add_missing(meta, "aten::native_batch_norm", &batch_norm_shape);
    add_missing(meta, "aten::relu", &same_shape);
    add_missing(meta, "aten::abs", &same_shape);
    add_missing(meta, "aten::logical_not", &same_shape_bool);
    add_missing(meta, "aten::where", &where_shape, "self");
    add_missing(meta, "aten::index_select", &index_select_shape);
    return true;
  }();
  static_cast<void>(done);
}

c10::DispatchKey registered_key() {
  register_once();
  return kKey;
}

}  // namespace

MetaDeviceScope::MetaDeviceScope() : guard_(registered_key()) {}

}  // namespace fovea::nn
