#include "jobs/quantize/compare_graphs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <utility>

#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "executor/graph_module.h"

namespace ds {
namespace {

// Samples in which a lost output's layer is looked for.
constexpr int64_t kLookedAt = 8;

// Sums of one model's loss and metrics.
class Measure {
 public:
  explicit Measure(const Loss& loss) : loss_(loss) { sums_.metrics = MetricSums(loss); }

  absl::Status Add(const at::Tensor& output, const at::Tensor& targets) {
    DS_ASSIGN_OR_RETURN(const LossResult result, loss_(output, targets));
    sums_.loss += result.loss.item<double>() * result.weight;
    sums_.weight += result.weight;
    sums_.samples += static_cast<double>(result.count);
    DS_ASSIGN_OR_RETURN(const TargetRows rows, loss_.RowsThatCount(output, targets));
    return sums_.metrics.Add(rows);
  }
  absl::StatusOr<Evaluation> Mean() const { return sums_.Mean(); }

 private:
  const Loss& loss_;
  EvaluationSums sums_;
};

double Decibels(const at::Tensor& exact, const at::Tensor& other) {
  const at::Tensor x = exact.to(at::kDouble), difference = x - other.to(at::kDouble);
  const double power = x.square().sum().item<double>(),
               noise = difference.square().sum().item<double>();
  if (noise == 0) return kMostDecibels;
  return power > 0 ? std::min(kMostDecibels, 10 * std::log10(power / noise)) : -kMostDecibels;
}

// Every value of `quantized` by its name, against the one of that name in `exact`.
absl::StatusOr<std::map<std::string, double>> DecibelsOfValues(
    GraphModule& exact, GraphModule& quantized, const std::vector<at::Tensor>& inputs) {
  std::map<std::string, at::Tensor> values;
  exact.set_value_observer([&](ValueId id, const at::Tensor& value) {
    if (value.is_floating_point()) values[exact.graph().value(id).name] = value.clone();
  });
  absl::Status status = exact.Forward(inputs).status();
  exact.set_value_observer(nullptr);
  DS_RETURN_IF_ERROR(status);
  std::map<std::string, double> decibels;
  quantized.set_value_observer([&](ValueId id, const at::Tensor& value) {
    const std::string& name = quantized.graph().value(id).name;
    const auto found = values.find(name);
    if (found != values.end() && found->second.sizes() == value.sizes())
      decibels[name] = Decibels(found->second, value);
  });
  status = quantized.Forward(inputs).status();
  quantized.set_value_observer(nullptr);
  DS_RETURN_IF_ERROR(status);
  return decibels;
}

// The node that loses most on the way to an output: "node 'conv5' (Conv) loses most: 31.0 dB
// before it, 8.2 dB behind". Empty where no one does.
std::string WhereItIsLost(const Graph& graph, const std::map<std::string, double>& decibels) {
  const Node* worst = nullptr;
  double most = 0, before = 0, behind = 0;
  for (const Node& node : graph.nodes()) {
    const auto own = decibels.find(graph.value(node.outputs[0]).name);
    if (own == decibels.end()) continue;
    double least = kMostDecibels;
    for (const ValueId input : node.inputs) {
      if (input == kNoValue) continue;
      const auto found = decibels.find(graph.value(input).name);
      if (found != decibels.end()) least = std::min(least, found->second);
    }
    // What an input's own rounding leaves is no layer's loss.
    least = std::min(least, 60.0);
    if (least - own->second <= most) continue;
    most = least - own->second;
    worst = &node;
    before = least;
    behind = own->second;
  }
  if (worst == nullptr) return "";
  return absl::StrFormat("; node '%s' (%s) loses most: %.1f dB before it, %.1f dB behind",
                         worst->name, worst->op, before, behind);
}

}  // namespace

absl::StatusOr<GraphComparison> CompareGraphs(const Graph& exact, const Graph& quantized,
                                              const LossOptions& options,
                                              const TestBatches& batches) {
  const at::NoGradGuard no_grad;
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<GraphModule> first, GraphModule::Create(exact));
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<GraphModule> second, GraphModule::Create(quantized));
  GraphComparison comparison;
  std::optional<Loss> loss;
  std::optional<Measure> of_first, of_second;
  Agreement agreement(exact);
  std::vector<at::Tensor> looked_at;
  bool begun = false;
  while (true) {
    DS_ASSIGN_OR_RETURN(const std::optional<TestBatch> batch, batches());
    if (!batch.has_value()) break;
    DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> a, first->Forward(batch->inputs));
    DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> b, second->Forward(batch->inputs));
    DS_RETURN_IF_ERROR(agreement.Add(a, b));
    if (!begun) {
      begun = true;
      looked_at = FirstSamplesOf(exact, batch->inputs, kLookedAt);
      absl::StatusOr<Loss> made = Loss::ForModel(options, exact);
      absl::Status fits = made.status();
      if (made.ok() && batch->targets.has_value())
        fits = AlignTargets(made->target_kind(), a[0], *batch->targets).status();
      if (batch->targets.has_value() && !fits.ok()) {
        comparison.warnings.push_back(
            absl::StrCat("the data's labels are not used: ", fits.message()));
      } else if (batch->targets.has_value()) {
        loss = *std::move(made);
        of_first.emplace(*loss);
        of_second.emplace(*loss);
      }
    }
    if (!loss.has_value() || !batch->targets.has_value()) continue;
    DS_RETURN_IF_ERROR(of_first->Add(a[0], *batch->targets));
    DS_RETURN_IF_ERROR(of_second->Add(b[0], *batch->targets));
  }
  if (!begun) return absl::InvalidArgumentError("the test data is empty: nothing to compare on");
  if (loss.has_value()) {
    DS_ASSIGN_OR_RETURN(comparison.exact, of_first->Mean());
    DS_ASSIGN_OR_RETURN(comparison.quantized, of_second->Mean());
  }
  comparison.outputs = agreement.Report();
  std::string where;
  for (const OutputAgreement& output : comparison.outputs) {
    if (std::isnan(output.snr_db) || output.snr_db >= kFewDecibels) continue;
    if (where.empty()) {
      DS_ASSIGN_OR_RETURN(const auto decibels, DecibelsOfValues(*first, *second, looked_at));
      where = WhereItIsLost(exact, decibels);
    }
    comparison.warnings.push_back(absl::StrFormat(
        "output '%s' is only %.1f dB from the float model%s. What may help: --repair adaround, "
        "another --method, or for layers of tokens --weights-only, which rounds no activation",
        output.output, output.snr_db, where));
  }
  return comparison;
}

}  // namespace ds
