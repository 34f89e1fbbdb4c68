#include "quant/torch/ranges/activation_search.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "ATen/Functions.h"
#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/torch/floating/output_noise.h"
#include "quant/torch/single_node.h"

namespace ds {
namespace {

constexpr CalibrationMethod kMethods[] = {
    CalibrationMethod::kMinMax, CalibrationMethod::kMovingAverage, CalibrationMethod::kPercentile,
    CalibrationMethod::kMse, CalibrationMethod::kKl};

double SquaredDistance(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).to(at::kDouble).square().sum().item<double>();
}

// The readers of a site that can be run alone, with their outputs on the kept samples.
class Readers {
 public:
  static absl::StatusOr<Readers> Make(const Graph& graph, const ActivationSite& site,
                                      const at::Tensor& kept) {
    Readers readers(kept);
    for (const int n : site.readers) {
      const Node& node = graph.nodes()[static_cast<size_t>(n)];
      const bool runs_alone = node.op == "Conv" || node.op == "Gemm" || node.op == "MatMul";
      // What reaches it through a Reshape or a pool is not the kept tensor.
      if (!runs_alone || node.inputs[0] != site.value || !graph.IsInitializer(node.inputs[1]))
        continue;
      DS_ASSIGN_OR_RETURN(std::unique_ptr<GraphModule> module, SingleNodeModule(graph, n));
      DS_ASSIGN_OR_RETURN(std::vector<at::Tensor> outputs, module->Forward({kept}));
      readers.exact_.push_back(std::move(outputs[0]));
      readers.modules_.push_back(std::move(module));
    }
    return readers;
  }

  absl::StatusOr<double> RoundingError(const QuantParams& params) const {
    return Error(Rounded(kept_, params));
  }

  // Of the values that rounding alone could not have moved so far.
  absl::StatusOr<double> ClippingError(const ClipRange& range, const QuantParams& params) const {
    const float half = params.scales[0] / 2;
    const at::Tensor outside = kept_.lt(range.low - half) | kept_.gt(range.high + half);
    if (!outside.any().item<bool>()) return 0;
    return Error(at::where(outside, kept_.clamp(range.low, range.high), kept_));
  }

 private:
  absl::StatusOr<double> Error(const at::Tensor& changed) const {
    if (modules_.empty()) return SquaredDistance(changed, kept_);
    double error = 0;
    for (size_t i = 0; i < modules_.size(); ++i) {
      DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> outputs, modules_[i]->Forward({changed}));
      error += SquaredDistance(outputs[0], exact_[i]);
    }
    return error;
  }

  explicit Readers(at::Tensor kept) : kept_(std::move(kept)) {}

  at::Tensor kept_;
  std::vector<std::unique_ptr<GraphModule>> modules_;
  std::vector<at::Tensor> exact_;
};

}  // namespace

absl::StatusOr<std::vector<RangeTrial>> TryRanges(const Graph& graph, const ActivationSite& site,
                                                  const Collector& collector, const QuantType& type,
                                                  const std::string& method,
                                                  const CalibrationOptions& options) {
  const at::NoGradGuard no_grad;
  const ActivationStatistics& statistics = collector.at(site.value).statistics;
  const auto choose = [&](CalibrationMethod with) -> absl::StatusOr<ChosenRange> {
    auto range = ChooseRange(statistics, type, with, options);
    if (!range.ok())
      return Annotate(range.status(), absl::StrCat("value \"", graph.value(site.value).name, "\""));
    return ChosenRange{with, *range};
  };
  if (method != "auto") {
    DS_ASSIGN_OR_RETURN(const CalibrationMethod named, CalibrationMethodFromName(method));
    DS_ASSIGN_OR_RETURN(const ChosenRange chosen, choose(named));
    return std::vector<RangeTrial>{{.chosen = chosen}};
  }
  DS_ASSIGN_OR_RETURN(const Readers readers,
                      Readers::Make(graph, site, collector.kept(site.value)));
  std::vector<RangeTrial> trials;
  for (const CalibrationMethod candidate : kMethods) {
    DS_ASSIGN_OR_RETURN(const ChosenRange chosen, choose(candidate));
    DS_ASSIGN_OR_RETURN(const QuantParams params,
                        ParamsForRange(type, chosen.range.low, chosen.range.high));
    RangeTrial trial{.chosen = chosen};
    DS_ASSIGN_OR_RETURN(trial.error, readers.RoundingError(params));
    DS_ASSIGN_OR_RETURN(trial.clipping, readers.ClippingError(chosen.range, params));
    trials.push_back(trial);
  }
  return trials;
}

const ChosenRange& LeastError(const std::vector<RangeTrial>& trials, double caution) {
  const auto error = [caution](const RangeTrial& trial) {
    return trial.error + (caution - 1) * trial.clipping;
  };
  return std::min_element(
             trials.begin(), trials.end(),
             [&](const RangeTrial& a, const RangeTrial& b) { return error(a) < error(b); })
      ->chosen;
}

absl::StatusOr<ChosenRange> ChooseActivationRange(const Graph& graph, const ActivationSite& site,
                                                  const Collector& collector, const QuantType& type,
                                                  const std::string& method,
                                                  const CalibrationOptions& options) {
  DS_ASSIGN_OR_RETURN(const std::vector<RangeTrial> trials,
                      TryRanges(graph, site, collector, type, method, options));
  return LeastError(trials, 1);
}

}  // namespace ds
