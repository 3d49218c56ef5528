#include "fovea/ops/attend_fused.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>
#include <vector>

#include "fovea/kernels/attend_args.h"
#include "fovea/ops/attend_composed.h"
#include "fovea/ops/attend_dropout.h"
#include "fovea/ops/attend_kernel_args.h"
#include "fovea/ops/call_functors.h"

namespace fovea {
namespace {

// Measured: batched products of small matrices beat tiles forward and backward up to about these lengths, if
// nothing but they is to be done.
bool is_short_and_plain(const at::Tensor& q, const at::Tensor& k, const AttendOptions& options) {
  const bool plain = !options.softcap && !options.functors && !options.alibi_slopes &&
                     !options.relative_table && !options.bias && !options.window && !options.key_lengths &&
                     !options.segments && !options.blocks && !options.mask && options.dropout_p == 0.0;
  return plain && std::max(q.size(2), k.size(2)) <= (q.scalar_type() == at::kFloat ? 128 : 32);
}

// What the backward needs of the forward, beside its arguments.
struct Saved {
  at::Tensor lse, unrounded;  // (B, H, N) and (B, H, N, Dv), float32
};

// Room for what the backward needs.
Saved room_for(const at::Tensor& out) {
  const auto floats = out.options().dtype(at::kFloat);
  const bool exact = out.scalar_type() == at::kFloat;
  return {at::empty(out.sizes().slice(0, 3), floats), exact ? out : at::empty(out.sizes(), floats)};
}

at::Tensor empty_output(const at::Tensor& q, const at::Tensor& v) {
  return at::empty({q.size(0), q.size(1), q.size(2), v.size(3)}, q.options().requires_grad(false));
}

// q, k, v with unit stride; what is defined of `saved` is filled.
void run_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const AttendOptions& options,
                 const FunctorList& functors, const at::Tensor& out, const Saved& saved) {
  const bool rounds = saved.unrounded.defined() && !saved.unrounded.is_same(out);
  const auto programs = programs_of(functors);
  kernels::attend_forward({.n = sizes(q, k, v),
                           .type = *kernel_type(q.scalar_type()),
                           .q = operand(q),
                           .k = operand(k),
                           .v = operand(v),
                           .out = output(out),
                           .lse = saved.lse.defined() ? saved.lse.mutable_data_ptr<float>() : nullptr,
                           .unrounded = rounds ? saved.unrounded.mutable_data_ptr<float>() : nullptr,
                           .scale = scale_of(q, options),
                           .programs = programs,
                           .dropout = dropout_of(options)});
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
    if (!learners.empty() && !each_entry) chunk_ = std::max<int64_t>((n.batch + wanted - 1) / wanted, 1);
    const int64_t chunks = (n.batch + chunk_ - 1) / chunk_;
    for (const size_t i : learners) {
      const at::Tensor& sums = sums_.emplace_back(functors[i]->make_sums(chunks, n.heads));
      programs_[i].sums = {sums.mutable_data_ptr<float>(), sums.stride(0), sums.stride(1)};
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

// Of the outputs; that of lse may be undefined.
struct OutputGradients {
  at::Tensor out, lse;
};

torch::autograd::variable_list run_backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                            const OutputGradients& grads, const Saved& saved,
                                            const AttendOptions& options,
                                            const std::vector<size_t>& learners) {
  const at::Tensor rows_q = with_unit_stride(q), rows_k = with_unit_stride(k), rows_v = with_unit_stride(v),
                   rows_grad = with_unit_stride(grads.out),
                   grad_lse = grads.lse.defined() ? grads.lse.contiguous() : at::Tensor();
  const auto contiguous = [](const at::Tensor& t) {
    return at::empty(t.sizes(), t.options().requires_grad(false));
  };
  const at::Tensor grad_q = contiguous(q), grad_k = contiguous(k), grad_v = contiguous(v);
  const FunctorList functors = call_functors(q, k, options, Tiles::transposed);
  const Lessons lessons(functors, learners, sizes(q, k, v));
  kernels::attend_backward({.n = sizes(q, k, v),
                            .type = *kernel_type(q.scalar_type()),
                            .q = operand(rows_q),
                            .k = operand(rows_k),
                            .v = operand(rows_v),
                            .grad_out = operand(rows_grad),
                            .lse = saved.lse.const_data_ptr<float>(),
                            .out = saved.unrounded.const_data_ptr<float>(),
                            .grad_lse = grad_lse.defined() ? grad_lse.const_data_ptr<float>() : nullptr,
                            .grad_q = output(grad_q),
                            .grad_k = output(grad_k),
                            .grad_v = output(grad_v),
                            .scale = scale_of(q, options),
                            .programs = lessons.programs(),
                            .dropout = dropout_of(options),
                            .chunk = lessons.chunk()});
  torch::autograd::variable_list found = {grad_q, grad_k, grad_v};
  for (auto& gradient : lessons.gradients()) found.push_back(std::move(gradient));
  return found;
}

// Steps whose score learns. Whether their tensors require gradients was asked before, in GradMode.
std::vector<size_t> learners_of(const FunctorList& functors) {
  std::vector<size_t> learners;
  for (size_t i = 0; i < functors.size(); ++i) {
    if (functors[i]->learned().defined() && functors[i]->learned().requires_grad()) learners.push_back(i);
  }
  return learners;
}

// At most: the caller's functors, ALiBi, the relative table, the bias.
constexpr size_t kMostLearners = 4;
using Learned = std::array<std::optional<at::Tensor>, kMostLearners>;

// The kernel's backward has no derivative of its own: gradients of gradients come from the definition.
class FusedAttention : public torch::autograd::Function<FusedAttention> {
 public:
  // out and lse.
  static torch::autograd::variable_list forward(
      torch::autograd::AutogradContext* context, const at::Tensor& q, const at::Tensor& k,
      const at::Tensor& v, const std::optional<at::Tensor>&, const std::optional<at::Tensor>&,
      const std::optional<at::Tensor>&, const std::optional<at::Tensor>&, const AttendOptions& options,
      const FunctorList& functors, const std::vector<size_t>& learners) {
    const at::Tensor out = empty_output(q, v);
    const Saved saved = room_for(out);
    run_forward(with_unit_stride(q), with_unit_stride(k), with_unit_stride(v), options, functors, out, saved);
    context->save_for_backward({q, k, v, saved.lse, saved.unrounded});
    context->saved_data["call"] = at::IValue::make_capsule(c10::make_intrusive<Call>(options, learners));
    context->set_materialize_grads(false);
    return {out, saved.lse};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& grads) {
    const auto capsule = context->saved_data["call"].toCapsule();
    const auto& call = static_cast<const Call&>(*capsule);
    const auto saved = context->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2];
    const OutputGradients given{grads[0].defined() ? grads[0] : at::zeros_like(empty_output(q, v)), grads[1]};
    auto found = at::GradMode::is_enabled()
                     ? differentiable_gradients(q, k, v, given, call)
                     : run_backward(q, k, v, given, {saved[3], saved[4]}, call.options, call.learners);
    constexpr size_t kOthers = 3;  // options, functors, learners
    found.resize(3 + kMostLearners + kOthers);
    return found;
  }

 private:
  struct Call : torch::CustomClassHolder {
    Call(const AttendOptions& options, const std::vector<size_t>& learners)
        : options(options), learners(learners) {}
    AttendOptions options;
    std::vector<size_t> learners;
  };

  static torch::autograd::variable_list differentiable_gradients(const at::Tensor& q, const at::Tensor& k,
                                                                 const at::Tensor& v,
                                                                 const OutputGradients& grads,
                                                                 const Call& call) {
    const FunctorList functors = call_functors(q, k, call.options, Tiles::none);
    torch::autograd::variable_list all = {q, k, v}, inputs;
    for (const size_t i : call.learners) all.push_back(functors[i]->learned());
    for (const auto& t : all) {
      if (t.requires_grad()) inputs.push_back(t);
    }
    AttendOptions options = call.options;
    options.lse = grads.lse.defined();
    const AttendResult result = attend_composed(q, k, v, options, functors);
    torch::autograd::variable_list outputs = {result.out}, given = {grads.out};
    if (options.lse) {
      outputs.push_back(result.lse);
      given.push_back(grads.lse);
    }
    const auto gradients = torch::autograd::grad(outputs, inputs, given, /*retain_graph=*/true,
                                                 /*create_graph=*/true);
    torch::autograd::variable_list found(all.size());
    for (size_t i = 0, next = 0; i < all.size(); ++i) {
      if (all[i].requires_grad()) found[i] = gradients[next++];
    }
    return found;
  }
};

}  // namespace

std::optional<std::string_view> why_not_fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                              const AttendOptions& options) {
  if (const auto reason = why_not_kernel(q, k, v, options)) return reason;
  if (options.weights) return "the weights are asked for";
  if (is_short_and_plain(q, k, options) && wants_gradient(q, k, v, options)) {
    return "with gradients, the definition is faster at these lengths";
  }
  return std::nullopt;
}

AttendResult attend_fused(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                          const AttendOptions& options) {
  const FunctorList functors = call_functors(q, k, options, Tiles::plain);
  if (!wants_gradient(q, k, v, options)) {
    const at::Tensor out = empty_output(q, v);
    Saved saved;
    if (options.lse) saved.lse = at::empty(out.sizes().slice(0, 3), out.options().dtype(at::kFloat));
    run_forward(with_unit_stride(q), with_unit_stride(k), with_unit_stride(v), options, functors, out, saved);
    return {out, {}, saved.lse};
  }
  const std::vector<size_t> learners = learners_of(functors);
  Learned learned;
  for (size_t i = 0; i < learners.size(); ++i) learned[i] = functors[learners[i]]->learned();
  const auto outputs = FusedAttention::apply(q, k, v, learned[0], learned[1], learned[2], learned[3], options,
                                             functors, learners);
  return {outputs[0], {}, options.lse ? outputs[1] : at::Tensor()};
}

}  // namespace fovea
