#include "trainer/optim/optimizer.h"

#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "trainer/optim/parameter_group.h"

namespace ds {
namespace {

absl::Status Require(bool holds, absl::string_view field, double value, absl::string_view range) {
  if (holds && std::isfinite(value)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("optimizer.", field, " is ", value, ": it must be finite and ", range));
}

absl::Status CheckOptions(const OptimizerOptions& options) {
  DS_RETURN_IF_ERROR(
      Require(options.learning_rate > 0, "learning_rate", options.learning_rate, "above 0"));
  DS_RETURN_IF_ERROR(
      Require(options.weight_decay >= 0, "weight_decay", options.weight_decay, "0 or more"));
  if (options.name == "sgd") {
    return Require(options.momentum >= 0 && options.momentum < 1, "momentum", options.momentum,
                   "in [0, 1)");
  }
  DS_RETURN_IF_ERROR(
      Require(options.beta1 >= 0 && options.beta1 < 1, "beta1", options.beta1, "in [0, 1)"));
  DS_RETURN_IF_ERROR(
      Require(options.beta2 >= 0 && options.beta2 < 1, "beta2", options.beta2, "in [0, 1)"));
  return Require(options.epsilon > 0, "epsilon", options.epsilon, "above 0");
}

absl::Status CheckParameters(const std::vector<NamedTensor>& parameters) {
  std::set<std::string> names;
  for (const NamedTensor& parameter : parameters) {
    const at::Tensor& tensor = parameter.tensor;
    if (!tensor.defined() || tensor.scalar_type() != at::kFloat ||
        !tensor.is_non_overlapping_and_dense()) {
      return absl::InvalidArgumentError(
          absl::StrCat("parameter '", parameter.name,
                       "' is not a dense float32 tensor: optimisers work on fp32 master weights"));
    }
    if (!names.insert(parameter.name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("two parameters are named '", parameter.name,
                       "': the optimiser's state is kept by name, rename one"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Optimizer>> Optimizer::Create(
    const std::vector<NamedTensor>& parameters, const OptimizerOptions& options) {
  DS_RETURN_IF_ERROR(CheckOptions(options));
  DS_RETURN_IF_ERROR(CheckParameters(parameters));
  if (options.name == "sgd") return MakeSgd(parameters, options);
  if (options.name == "adamw") return MakeAdamW(parameters, options);
  if (options.name == "lamb") return MakeLamb(parameters, options);
  return absl::InvalidArgumentError(
      absl::StrCat("optimizer.name is '", options.name, "': it must be sgd, adamw or lamb"));
}

}  // namespace ds
