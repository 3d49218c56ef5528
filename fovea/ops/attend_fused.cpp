#include "fovea/ops/attend_fused.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/alias.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include "fovea/core/ceil_div.h"
#include "fovea/kernels/attend_args.h"
#include "fovea/ops/attend_calls.h"
#include "fovea/ops/attend_composed.h"
#include "fovea/ops/attend_dropout.h"
#include "fovea/ops/attend_kernel_args.h"
#include "fovea/ops/attend_normalisers.h"
#include "fovea/ops/attend_similarity.h"
#include "fovea/ops/call_functors.h"
#include "fovea/ops/unchanged.h"

namespace fovea {
namespace {

// What the kernel for few pairs takes, which is the quickest.
bool has_few_whole_pairs(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  return q.scalar_type() == at::kFloat && q.size(1) == k.size(1) && q.size(3) % 16 == 0 &&
         v.size(3) % 16 == 0;
}

// Measured: batched products of many small matrices beat tiles forward and backward up to about these
// lengths, if nothing but they is to be done; of few matrices the calls cost more than the work.
bool is_short_and_plain(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                        const AttendOptions& options) {
  const bool plain = !options.softcap && !options.functors && !adds_biases(options) && !hides_keys(options) &&
                     !std::holds_alternative<Gaussian>(options.similarity) && options.dropout_p == 0.0 &&
                     std::holds_alternative<Softmax>(options.normaliser);
  return plain && q.size(0) * q.size(1) >= 64 && !has_few_whole_pairs(q, k, v) &&
         std::max(q.size(2), k.size(2)) <= (q.scalar_type() == at::kFloat ? 64 : 16);
}

// The normaliser as the kernel takes it, and what that points to.
class KernelNormaliser {
 public:
  KernelNormaliser(const kernels::AttendSizes& n, const AttendOptions& options) {
    if (const auto* sigmoid = std::get_if<Sigmoid>(&options.normaliser)) {
      value_ = {kernels::Normaliser::Kind::sigmoid, nullptr,
                static_cast<float>(sigmoid_bias(*sigmoid, n.keys))};
    }
    if (!std::holds_alternative<SoftmaxSink>(options.normaliser)) return;
    const auto given = sinks_of(options);
    sinks_ = given ? given->detach().to(at::kFloat).contiguous() : at::zeros({n.heads}, at::kFloat);
    value_.sinks = sinks_.const_data_ptr<float>();
  }

  const kernels::Normaliser& value() const { return value_; }

 private:
  kernels::Normaliser value_;
  at::Tensor sinks_;
};

// What is defined of `saved` is filled.
void run_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttendOptions& options,
                 const FunctorList& functors, const at::Tensor& out, const AttendSaved& saved) {
  const at::Tensor rows_q = with_unit_stride(q), rows_k = with_unit_stride(k), rows_v = with_unit_stride(v);
  const auto programs = programs_of(functors);
  kernels::ForwardArgs args = forward_args(rows_q, rows_k, rows_v, out, saved);
  args.scale = scale_of(q, options);
  args.programs = programs;
  args.dropout = dropout_of(options);
  const KernelNormaliser normaliser(args.n, options);
  args.normaliser = normaliser.value();
  kernels::attend_forward(args);
}

// Sums of what steps of a call learn, and their gradients once the kernel has run.
class Lessons {
 public:
  // `learners`: places in `functors`.
  Lessons(const FunctorList& functors, const std::vector<size_t>& learners, const kernels::AttendSizes& n)
      : functors_(functors), learners_(learners), programs_(programs_of(functors)), chunk_(1) {
    const bool each_entry = std::any_of(learners.begin(), learners.end(),
                                        [&](size_t i) { return functors[i]->learns_each_entry(); });
    // As many tasks as keep a few threads busy, however many those are: sums must not depend on them.
    constexpr int64_t kTasks = 16;
    const int64_t wanted = (kTasks + n.kv_heads - 1) / std::max<int64_t>(n.kv_heads, 1);
    if (!learners.empty() && !each_entry) chunk_ = std::max<int64_t>(ceil_div(n.batch, wanted), 1);
    const int64_t chunks = ceil_div(n.batch, chunk_);
    for (const size_t i : learners) {
      const at::Tensor& sums = sums_.emplace_back(functors[i]->make_sums(chunks, n.heads));
      const int64_t size = sums.element_size();
      programs_[i].sums = {static_cast<std::byte*>(sums.mutable_data_ptr()), sums.stride(0) * size,
                           sums.stride(1) * size};
    }
  }

  kernels::TilePrograms programs() const { return programs_; }
  int64_t chunk() const { return chunk_; }

  torch::autograd::variable_list gradients() const {
    torch::autograd::variable_list found;
    for (size_t i = 0; i < learners_.size(); ++i) {
      found.push_back(functors_[learners_[i]]->gradient(sums_[i]));
    }
    return found;
  }

 private:
  const FunctorList& functors_;
  const std::vector<size_t>& learners_;
  std::vector<TileProgram> programs_;
  std::vector<at::Tensor> sums_;
  int64_t chunk_;
};

// (B, H) float32, for the gradients of a sink that learns; undefined otherwise.
at::Tensor sums_of_sinks(const at::Tensor& q, const AttendOptions& options) {
  const auto sinks = sinks_of(options);
  return sinks && sinks->requires_grad() ? at::zeros({q.size(0), q.size(1)}, at::kFloat) : at::Tensor();
}

at::Tensor sink_gradient(const at::Tensor& sums, const AttendOptions& options) {
  return sums.defined() ? sums.sum(0).to(sinks_of(options)->scalar_type()) : at::Tensor();
}

// Of q, k, v, the sink and the learners.
torch::autograd::variable_list run_backward(const torch::autograd::variable_list& qkv,
                                            const OutputGradients& grads, const AttendSaved& saved,
                                            const AttendOptions& options,
                                            const std::vector<size_t>& learners) {
  BackwardCall call = backward_call(qkv, grads, saved);
  const FunctorList functors = call_functors(qkv[0], qkv[1], options, Tiles::transposed);
  const Lessons lessons(functors, learners, call.args.n);
  call.args.scale = scale_of(qkv[0], options);
  call.args.programs = lessons.programs();
  call.args.dropout = dropout_of(options);
  call.args.chunk = lessons.chunk();
  const KernelNormaliser normaliser(call.args.n, options);
  call.args.normaliser = normaliser.value();
  const at::Tensor grad_sinks = sums_of_sinks(qkv[0], options);
  if (grad_sinks.defined()) call.args.grad_sinks = grad_sinks.mutable_data_ptr<float>();
  kernels::attend_backward(call.args);
  torch::autograd::variable_list found = {call.grad_q, call.grad_k, call.grad_v,
                                          sink_gradient(grad_sinks, options)};
  for (auto& gradient : lessons.gradients()) found.push_back(std::move(gradient));
  return found;
}

// Steps whose score learns. Whether their tensors require gradients was asked before, in GradMode.
std::vector<size_t> learners_of(const FunctorList& functors) {
  std::vector<size_t> learners;
  for (size_t i = 0; i < functors.size(); ++i) {
    const at::Tensor learned = functors[i]->learned();
    if (learned.defined() && learned.requires_grad()) learners.push_back(i);
  }
  return learners;
}

// The kernel's backward has no derivative of its own: gradients of gradients come from the definition.
class FusedAttention : public torch::autograd::Function<FusedAttention> {
 public:
  // out and lse.
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                                const std::optional<at::Tensor>& /*sinks*/,
                                                at::TensorList /*learned*/, const AttendOptions& options,
                                                const FunctorList& functors,
                                                const std::vector<size_t>& learners) {
    const at::Tensor out = empty_output(q, v);
    const AttendSaved saved = room_for(out, options, /*backward=*/true);
    run_forward(q, k, v, options, functors, out, saved);
    context->save_for_backward({q, k, v, saved.lse, saved.unrounded});
    context->saved_data["call"] = at::IValue::make_capsule(c10::make_intrusive<Call>(options, learners));
    context->set_materialize_grads(false);
    return {out, saved.lse};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& grads) {
    const auto capsule = context->saved_data["call"].toCapsule();
    const auto& call = static_cast<const Call&>(*capsule);
    call.unchanged.check("attend");
    const auto saved = context->get_saved_variables();
    const torch::autograd::variable_list qkv(saved.begin(), saved.begin() + 3);
    const OutputGradients given = output_gradients(grads, qkv[0], qkv[2]);
    auto found = at::GradMode::is_enabled()
                     ? differentiable_gradients(qkv, given, call)
                     : run_backward(qkv, given, {saved[3], saved[4]}, call.options, call.learners);
    constexpr size_t kOthers = 3;  // options, functors, learners
    found.resize(4 + call.learners.size() + kOthers);
    return found;
  }

 private:
  struct Call : torch::CustomClassHolder {
    Call(const AttendOptions& options, const std::vector<size_t>& learners)
        : options(options), learners(learners), unchanged(options) {}
    AttendOptions options;
    std::vector<size_t> learners;
    Unchanged unchanged;
  };

  static torch::autograd::variable_list differentiable_gradients(const torch::autograd::variable_list& qkv,
                                                                 const OutputGradients& grads,
                                                                 const Call& call) {
    const FunctorList functors = call_functors(qkv[0], qkv[1], call.options, Tiles::none);
    // The operands of the products alone: steps that come from q or k too have gradients of their own.
    torch::autograd::variable_list inputs = {at::alias(qkv[0]), at::alias(qkv[1]), qkv[2]};
    inputs.push_back(sinks_of(call.options).value_or(at::Tensor()));
    for (const size_t i : call.learners) inputs.push_back(functors[i]->learned());
    AttendOptions options = call.options;
    options.lse = grads.lse.defined();
    return composed_gradients(attend_composed(inputs[0], inputs[1], inputs[2], options, functors), inputs,
                              grads);
  }
};

}  // namespace

std::optional<std::string_view> why_not_fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                              const AttendOptions& options) {
  if (const auto reason = why_not_kernel(q, k, v, options)) return reason;
  if (options.weights) return "the weights are asked for";
  if (std::holds_alternative<Gaussian>(options.similarity) && reshapes_scores(options) &&
      wants_gradient(q, k, v, options)) {
    return "a Gaussian score that is changed further wants a gradient";
  }
  if (std::holds_alternative<Sparsemax>(options.normaliser)) return "the normaliser is sparsemax";
  if (std::holds_alternative<Entmax>(options.normaliser)) return "the normaliser is entmax15";
  if (is_short_and_plain(q, k, v, options) && wants_gradient(q, k, v, options)) {
    return "with gradients, the definition is faster for so many short sequences";
  }
  return std::nullopt;
}

AttendResult attend_fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const AttendOptions& options) {
  const FunctorList functors = call_functors(q, k, options, Tiles::plain);
  if (!wants_gradient(q, k, v, options)) {
    const at::Tensor out = empty_output(q, v);
    const AttendSaved saved = room_for(out, options, /*backward=*/false);
    run_forward(q, k, v, options, functors, out, saved);
    return {out, {}, saved.lse};
  }
  const std::vector<size_t> learners = learners_of(functors);
  torch::autograd::variable_list learned;
  for (const size_t i : learners) learned.push_back(functors[i]->learned());
  const auto outputs =
      FusedAttention::apply(q, k, v, sinks_of(options), at::TensorList(learned), options, functors, learners);
  return {outputs[0], {}, options.lse ? outputs[1] : at::Tensor()};
}

}  // namespace fovea
