#include "quant/torch/activation_search.h"

#include <limits>
#include <memory>
#include <utility>

#include "ATen/Functions.h"
#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/torch/single_node.h"

namespace ds {
namespace {

constexpr CalibrationMethod kMethods[] = {
    CalibrationMethod::kMinMax, CalibrationMethod::kMovingAverage, CalibrationMethod::kPercentile,
    CalibrationMethod::kMse, CalibrationMethod::kKl};

at::Tensor FakeQuantized(const at::Tensor& values, const QuantParams& params) {
  return at::fake_quantize_per_tensor_affine(values, params.scales[0], params.zero_points[0],
                                             params.type.min(), params.type.max());
}

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

  absl::StatusOr<double> Error(const QuantParams& params) const {
    const at::Tensor rounded = FakeQuantized(kept_, params);
    if (modules_.empty()) return SquaredDistance(rounded, kept_);
    double error = 0;
    for (size_t i = 0; i < modules_.size(); ++i) {
      DS_ASSIGN_OR_RETURN(const std::vector<at::Tensor> outputs, modules_[i]->Forward({rounded}));
      error += SquaredDistance(outputs[0], exact_[i]);
    }
    return error;
  }

 private:
  explicit Readers(at::Tensor kept) : kept_(std::move(kept)) {}

  at::Tensor kept_;
  std::vector<std::unique_ptr<GraphModule>> modules_;
  std::vector<at::Tensor> exact_;
};

}  // namespace

absl::StatusOr<ChosenRange> ChooseActivationRange(const Graph& graph, const ActivationSite& site,
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
    return choose(named);
  }
  DS_ASSIGN_OR_RETURN(const Readers readers,
                      Readers::Make(graph, site, collector.kept(site.value)));
  ChosenRange best;
  double least = std::numeric_limits<double>::infinity();
  for (const CalibrationMethod candidate : kMethods) {
    DS_ASSIGN_OR_RETURN(const ChosenRange chosen, choose(candidate));
    DS_ASSIGN_OR_RETURN(const QuantParams params,
                        ParamsForRange(type, chosen.range.low, chosen.range.high));
    DS_ASSIGN_OR_RETURN(const double error, readers.Error(params));
    if (error < least) {
      least = error;
      best = chosen;
    }
  }
  return best;
}

}  // namespace ds
