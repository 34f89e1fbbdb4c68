// Which loss is meant: from options and a model to a Loss.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "graph/output_activation.h"
#include "trainer/optim/loss.h"
#include "trainer/optim/metric_names.h"

namespace ds {
namespace {

absl::StatusOr<TargetKind> KindOf(const std::string& name) {
  if (IsOfClasses(name)) return TargetKind::kClass;
  if (name == "bce") return TargetKind::kLabels;
  if (name == "mse" || name == "l1" || name == "huber") return TargetKind::kValues;
  return absl::InvalidArgumentError(
      absl::StrCat("unknown loss '", name, "'; it is one of ", absl::StrJoin(LossNames(), ", ")));
}

absl::Status CheckOptions(const LossOptions& options, TargetKind kind) {
  const auto refuse = [](const auto&... text) {
    return absl::InvalidArgumentError(absl::StrCat(text...));
  };
  if (!(options.label_smoothing >= 0 && options.label_smoothing < 1))
    return refuse("label_smoothing is ", options.label_smoothing, "; it lies in [0, 1)");
  if (!(options.huber_delta > 0 && std::isfinite(options.huber_delta)))
    return refuse("huber_delta is ", options.huber_delta, "; it is above 0");
  for (const double weight : options.class_weights) {
    if (!(weight > 0 && std::isfinite(weight)))
      return refuse("a class weight is ", weight, "; it is above 0");
  }
  const bool of_labels = options.label_smoothing > 0 || !options.class_weights.empty() ||
                         options.ignore_index.has_value();
  if (kind == TargetKind::kValues && of_labels) {
    return refuse("the loss ", options.name,
                  " is of numbers: label_smoothing, class_weights and ignore_index are for "
                  "cross_entropy, nll and bce");
  }
  for (const std::string& metric : options.metrics) {
    if (!GoesWith(metric, options.name)) {
      return refuse("the metric '", metric, "' is not one of the loss ", options.name,
                    "; these are ", absl::StrJoin(MetricsOf(options.name), ", "));
    }
  }
  return absl::OkStatus();
}

// What evaluations show where nobody said.
std::vector<std::string> UsualMetrics(TargetKind kind, const Shape* output) {
  const size_t rank = output == nullptr ? 2 : output->size();
  if (kind == TargetKind::kValues) return {"mae", "rmse"};
  if (rank >= 4) return {"mean_iou", "accuracy"};
  if (kind == TargetKind::kClass && rank == 3) return {"accuracy", "perplexity"};  // of tokens
  if (kind == TargetKind::kClass) return {"accuracy"};
  const bool single = output != nullptr && (rank == 1 || output->back() == 1);
  return single ? std::vector<std::string>{"accuracy", "auc"}
                : std::vector<std::string>{"f1", "accuracy", "auc"};
}

}  // namespace

absl::StatusOr<Loss> Loss::Create(const LossOptions& options, OutputKind output) {
  DS_ASSIGN_OR_RETURN(const TargetKind kind, KindOf(options.name));
  DS_RETURN_IF_ERROR(CheckOptions(options, kind));
  Loss loss;
  loss.options_ = options;
  loss.kind_ = kind;
  loss.output_ = output;
  if (kind == TargetKind::kValues) loss.output_ = OutputKind::kLogits;
  if (kind == TargetKind::kClass && output != OutputKind::kLogits) loss.options_.name = "nll";
  if (options.metrics.empty()) loss.options_.metrics = UsualMetrics(kind, nullptr);
  return loss;
}

absl::StatusOr<Loss> Loss::ForModel(const LossOptions& options, const Graph& graph) {
  if (graph.outputs().empty()) return absl::InvalidArgumentError("the model has no output");
  const OutputEnd end = FindOutputEnd(graph);
  DS_ASSIGN_OR_RETURN(const TargetKind kind, KindOf(options.name));
  const auto& shape = graph.value(graph.outputs()[0]).shape;
  LossOptions all = options;
  if (all.metrics.empty()) all.metrics = UsualMetrics(kind, shape ? &*shape : nullptr);
  const std::string where = absl::StrCat("the model ends in ", end.op, " (node '", end.node, "')");
  const bool soft = end.activation == OutputActivation::kSoftmax,
             log_soft = end.activation == OutputActivation::kLogSoftmax,
             sigmoid = end.activation == OutputActivation::kSigmoid;
  if (options.name == "nll" && !soft && !log_soft) {
    return absl::InvalidArgumentError(
        absl::StrCat(where,
                     ", and the loss nll is of what Softmax or LogSoftmax give; use "
                     "loss.name=cross_entropy"));
  }
  if (options.name == "cross_entropy" && sigmoid) {
    return absl::InvalidArgumentError(
        absl::StrCat(where,
                     ", and cross_entropy would take its results for logits; use loss.name=bce, or "
                     "export the model without it"));
  }
  if (options.name == "bce" && (soft || log_soft)) {
    return absl::InvalidArgumentError(
        absl::StrCat(where,
                     ", and bce is of labels that do not exclude each other; use "
                     "loss.name=cross_entropy, or export the model without it"));
  }
  const bool probabilities = kind == TargetKind::kClass ? soft : sigmoid;
  OutputKind output = probabilities ? OutputKind::kProbabilities : OutputKind::kLogits;
  if (log_soft && kind == TargetKind::kClass) output = OutputKind::kLogProbabilities;
  DS_ASSIGN_OR_RETURN(Loss loss, Create(all, output));
  if (kind == TargetKind::kClass && output != OutputKind::kLogits)
    loss.note_ = absl::StrCat(where, ": the loss is nll, of what that gives");
  if (kind == TargetKind::kLabels && sigmoid)
    loss.note_ = absl::StrCat(where, ": bce is of what that gives");
  return loss;
}

}  // namespace ds
