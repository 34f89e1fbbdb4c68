#include "trainer/optim/ema.h"

#include <algorithm>

#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "executor/state_check.h"

namespace ds {

WeightEma::WeightEma(const GraphModule& module, double decay) : decay_(decay) {
  for (const std::vector<NamedTensor>* list : {&module.parameters(), &module.buffers()}) {
    for (const NamedTensor& entry : *list) {
      live_.push_back(entry);
      average_.push_back(entry.tensor.detach().clone());
      (list == &module.buffers() ? buffers_ : parameters_)
          .push_back({absl::StrCat("ema/", entry.name), average_.back(), entry.op, entry.slot});
    }
  }
}

void WeightEma::Update(int64_t steps) {
  at::NoGradGuard no_grad;
  double decay = 1;
  for (int64_t i = 0; i < steps; ++i) {
    const double step = static_cast<double>(step_++);
    decay *= std::min(decay_, (1.0 + step) / (10.0 + step));
  }
  for (size_t i = 0; i < live_.size(); ++i) {
    if (average_[i].is_floating_point()) {
      average_[i].lerp_(live_[i].tensor.detach(), 1.0 - decay);
    } else {
      average_[i].copy_(live_[i].tensor);
    }
  }
}

void WeightEma::Swap() {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < live_.size(); ++i) {
    const at::Tensor live = live_[i].tensor.detach().clone();
    at::Tensor into = live_[i].tensor.detach();
    into.copy_(average_[i]);
    average_[i].copy_(live);
  }
}

std::map<std::string, at::Tensor> WeightEma::State() const {
  std::map<std::string, at::Tensor> state;
  for (size_t i = 0; i < live_.size(); ++i) state["ema/" + live_[i].name] = average_[i].clone();
  state["step"] = at::scalar_tensor(step_, at::kLong);
  return state;
}

absl::Status WeightEma::LoadState(const std::map<std::string, at::Tensor>& state) {
  at::NoGradGuard no_grad;
  DS_RETURN_IF_ERROR(CheckState(state, State(), "the averages' state",
                                "it was not saved by this model's averages"));
  for (size_t i = 0; i < live_.size(); ++i) average_[i].copy_(state.at("ema/" + live_[i].name));
  step_ = state.at("step").item<int64_t>();
  return absl::OkStatus();
}

}  // namespace ds
