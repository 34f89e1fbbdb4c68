#include "jobs/train/job_replicas.h"

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/quant_plan.h"
#include "trainer/replica_check.h"

namespace ds {
namespace {

void AddTensors(absl::string_view what, const TensorMap& tensors, ReplicaCheck& check) {
  for (const auto& [name, tensor] : tensors) {
    check.Add(absl::StrCat(what, " ", name),
              absl::string_view(reinterpret_cast<const char*>(tensor.data()),
                                static_cast<size_t>(tensor.size_bytes())));
  }
}

void AddParams(absl::string_view what, const std::map<std::string, QuantParams>& all,
               ReplicaCheck& check) {
  for (const auto& [name, params] : all) {
    const auto add = [&, &name = name](absl::string_view field, const void* data, size_t size) {
      check.Add(absl::StrCat(field, " of ", what, " ", name),
                absl::string_view(static_cast<const char*>(data), size));
    };
    check.Add(absl::StrCat("type of ", what, " ", name),
              absl::StrCat(params.type.bits, params.type.is_signed, params.type.narrow));
    add("scales", params.scales.data(), params.scales.size() * sizeof(float));
    add("zero points", params.zero_points.data(), params.zero_points.size() * sizeof(int32_t));
  }
}

}  // namespace

absl::Status VerifyJobReplicas(const RunProgress& progress, const QatModule* quantized,
                               const PrunedTraining* pruning, const GatedTraining* gating,
                               int64_t step, Communicator& communicator) {
  ReplicaCheck check;
  check.Add("best metric", progress.best_metric);
  check.Add("best loss", progress.best_loss);
  check.Add("best epoch", static_cast<double>(progress.best_epoch));
  check.Add("float metric", progress.float_metric);
  check.Add("precision", progress.precision);
  if (quantized != nullptr) {
    const QuantPlan plan = quantized->Plan();
    AddParams("weight", plan.weights, check);
    AddParams("activation", plan.activations, check);
  }
  if (pruning != nullptr) {
    DS_ASSIGN_OR_RETURN(const TensorMap removed, pruning->State());
    AddTensors("pruned", removed, check);
  }
  if (gating != nullptr) AddTensors("gating's", gating->State(), check);
  return check.Compare(step, communicator);
}

}  // namespace ds
