#include "trainer/optim/parameter_group.h"

#include <utility>

#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "executor/state_check.h"

namespace ds {
namespace {

constexpr char kStepName[] = "step";
constexpr char kStepsPrefix[] = "steps/";

at::Tensor Int64Scalar(int64_t value) { return at::full({}, value, at::kLong); }

}  // namespace

at::Tensor FlatAlias(const at::Tensor& tensor) {
  DS_CHECK(tensor.is_non_overlapping_and_dense()) << "tensor of strides that leave holes";
  return tensor.detach().as_strided({tensor.numel()}, {1});
}

bool SameLayout(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes() || !a.is_non_overlapping_and_dense() ||
      !b.is_non_overlapping_and_dense())
    return false;
  for (int64_t d = 0; d < a.dim(); ++d) {
    if (a.size(d) > 1 && a.stride(d) != b.stride(d)) return false;
  }
  return true;
}

bool TakesWeightDecay(const NamedTensor& parameter) {
  return parameter.tensor.dim() >= 2 && parameter.op != "BatchNormalization" &&
         parameter.op != "LayerNormalization";
}

OptimizerBase::OptimizerBase(const std::vector<NamedTensor>& parameters,
                             const OptimizerOptions& options,
                             const std::vector<std::string>& prefixes, bool count_steps)
    : options_(options), parameters_(parameters), count_steps_(count_steps) {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    flat_parameters_.push_back(FlatAlias(parameters_[i].tensor));
    (TakesWeightDecay(parameters_[i]) ? decayed_ : plain_).push_back(static_cast<int>(i));
  }
  for (const std::string& prefix : prefixes) {
    ParameterState state{.prefix = prefix, .tensors = {}, .flat = {}};
    for (const NamedTensor& parameter : parameters_) {
      state.tensors.push_back(
          at::zeros_like(parameter.tensor.detach(), at::MemoryFormat::Preserve));
      state.flat.push_back(FlatAlias(state.tensors.back()));
    }
    states_.push_back(std::move(state));
  }
  if (count_steps_) steps_.assign(parameters_.size(), 0);
}

absl::Status OptimizerBase::Step() {
  at::NoGradGuard no_grad;
  try {
    DS_RETURN_IF_ERROR(StepGroup(decayed_, options_.weight_decay));
    DS_RETURN_IF_ERROR(StepGroup(plain_, 0.0));
    SetZeros();
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("LibTorch failed in the ", options_.name, " step ",
                                            step_, ": ", error.what_without_backtrace()));
  }
  ++step_;
  return absl::OkStatus();
}

void OptimizerBase::SetZeros() {
  at::NoGradGuard no_grad;
  for (const auto& [i, zeros] : zeros_)
    parameters_[static_cast<size_t>(i)].tensor.detach().masked_fill_(zeros, 0);
}

absl::Status OptimizerBase::KeepZeros(const std::map<std::string, at::Tensor>& zeros) {
  std::map<int, at::Tensor> found;
  for (const auto& [name, tensor] : zeros) {
    int i = 0;
    while (i < static_cast<int>(parameters_.size()) &&
           parameters_[static_cast<size_t>(i)].name != name)
      ++i;
    if (i == static_cast<int>(parameters_.size())) {
      return absl::NotFoundError(
          absl::StrCat("zeros are to be kept in '", name, "', which is no parameter of the model"));
    }
    const at::Tensor& parameter = parameters_[static_cast<size_t>(i)].tensor;
    if (!tensor.defined() || tensor.scalar_type() != at::kBool ||
        tensor.sizes() != parameter.sizes()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the zeros of parameter '", name, "' are no booleans of its shape ",
                       ShapeString({parameter.sizes().data(), parameter.sizes().size()})));
    }
    found[i] = tensor;
  }
  zeros_ = std::move(found);
  SetZeros();
  return absl::OkStatus();
}

absl::Status OptimizerBase::StepGroup(const std::vector<int>& group, double weight_decay) {
  std::vector<int> members;
  std::vector<at::Tensor> grads;
  for (int i : group) {
    const at::Tensor& parameter = parameters_[i].tensor;
    const at::Tensor grad = parameter.grad();
    if (!grad.defined() || parameter.numel() == 0) continue;
    if (grad.layout() != at::kStrided || grad.device() != parameter.device()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the gradient of parameter '", parameters_[i].name,
                       "' is sparse or on another device than its parameter: "
                       "optimisers take dense gradients beside their parameters"));
    }
    at::Tensor matching = grad;
    if (grad.scalar_type() != parameter.scalar_type() || !SameLayout(grad, parameter)) {
      matching = at::empty_like(parameter, at::MemoryFormat::Preserve);
      matching.copy_(grad);
    }
    members.push_back(i);
    grads.push_back(FlatAlias(matching));
    if (count_steps_) ++steps_[i];
  }
  if (!members.empty()) Apply(members, grads, weight_decay);
  return absl::OkStatus();
}

void OptimizerBase::ZeroGrad(bool drop) {
  at::NoGradGuard no_grad;
  for (NamedTensor& parameter : parameters_) {
    at::Tensor& grad = parameter.tensor.mutable_grad();
    if (!grad.defined()) continue;
    if (drop) {
      grad.reset();
    } else {
      grad.zero_();
    }
  }
}

std::vector<at::Tensor> OptimizerBase::Pick(const std::vector<at::Tensor>& all,
                                            const std::vector<int>& members) {
  std::vector<at::Tensor> picked;
  picked.reserve(members.size());
  for (int i : members) picked.push_back(all[i]);
  return picked;
}

std::map<std::string, at::Tensor> OptimizerBase::Expected() const {
  std::map<std::string, at::Tensor> expected;
  for (const ParameterState& state : states_) {
    for (size_t i = 0; i < parameters_.size(); ++i) {
      expected[absl::StrCat(state.prefix, "/", parameters_[i].name)] = state.tensors[i];
    }
  }
  for (size_t i = 0; i < steps_.size(); ++i) {
    expected[absl::StrCat(kStepsPrefix, parameters_[i].name)] = Int64Scalar(steps_[i]);
  }
  expected[kStepName] = Int64Scalar(step_);
  return expected;
}

std::map<std::string, at::Tensor> OptimizerBase::State() const {
  at::NoGradGuard no_grad;
  std::map<std::string, at::Tensor> state = Expected();
  for (auto& [name, tensor] : state) tensor = tensor.clone(at::MemoryFormat::Preserve);
  return state;
}

absl::Status OptimizerBase::LoadState(const std::map<std::string, at::Tensor>& state) {
  at::NoGradGuard no_grad;
  DS_RETURN_IF_ERROR(
      CheckState(state, Expected(), "the optimiser's state",
                 absl::StrCat("it was not saved by ", options_.name, " over these parameters")));
  for (ParameterState& own : states_) {
    for (size_t i = 0; i < parameters_.size(); ++i) {
      own.tensors[i].copy_(state.at(absl::StrCat(own.prefix, "/", parameters_[i].name)));
    }
  }
  for (size_t i = 0; i < steps_.size(); ++i) {
    steps_[i] = state.at(absl::StrCat(kStepsPrefix, parameters_[i].name)).item<int64_t>();
  }
  step_ = state.at(kStepName).item<int64_t>();
  return absl::OkStatus();
}

}  // namespace ds
