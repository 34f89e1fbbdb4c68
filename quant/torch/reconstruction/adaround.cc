#include "quant/torch/reconstruction/adaround.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "ATen/CPUGeneratorImpl.h"
#include "ATen/Functions.h"
#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "quant/reconstruction_units.h"
#include "quant/torch/reconstruction/adam.h"
#include "quant/torch/reconstruction/random_drop.h"
#include "quant/torch/reconstruction/soft_rounding.h"
#include "quant/torch/reconstruction/unit_runner.h"

namespace ds {
namespace {

constexpr double kFirstBeta = 20, kLastBeta = 2;  // of the regulariser, falling linearly
// Biases move by this share of the unit's outputs' magnitude a step.
constexpr double kBiasRate = 1e-3;

int64_t Samples(const ValueMap& values) { return values.begin()->second.size(0); }

ValueMap Narrow(const ValueMap& values, int64_t begin, int64_t count) {
  ValueMap part;
  for (const auto& [id, tensor] : values) part[id] = tensor.narrow(0, begin, count);
  return part;
}

ValueMap Select(const ValueMap& values, const at::Tensor& rows) {
  ValueMap part;
  for (const auto& [id, tensor] : values) part[id] = tensor.index_select(0, rows);
  return part;
}

// Sum over all floating outputs.
at::Tensor SquaredDistance(const ValueMap& values, const ValueMap& targets) {
  at::Tensor sum = at::zeros({});
  for (const auto& [id, target] : targets) {
    if (at::isFloatingType(target.scalar_type()))
      sum = sum + (values.at(id) - target).square().sum();
  }
  return sum;
}

int64_t FloatElements(const ValueMap& values) {
  int64_t count = 0;
  for (const auto& [id, tensor] : values)
    count += at::isFloatingType(tensor.scalar_type()) ? tensor.numel() : 0;
  return count;
}

class Reconstructor {
 public:
  Reconstructor(Graph& graph, const QuantSelection& selection, const QuantPlan& plan,
                const ReconstructionOptions& options, const Graph* corrected)
      : graph_(graph),
        corrected_(corrected),
        selection_(selection),
        plan_(plan),
        options_(options),
        drop_(options.method == "qdrop" ? options.drop : 0.0, options.seed),
        order_(at::detail::createCPUGenerator(options.seed)) {
    if (options.learn_bias) AddBiases();
    for (const Node& node : graph.nodes()) {
      for (const ValueId id : node.inputs) {
        if (id != kNoValue) ++reads_[id];
      }
    }
    for (const ActivationSite& site : selection.activations) {
      const auto params = plan.activations.find(graph.value(site.value).name);
      if (params != plan.activations.end()) activations_[site.value] = &params->second;
    }
  }

  absl::StatusOr<std::vector<UnitReconstruction>> Run(const std::vector<at::Tensor>& inputs) {
    ValueMap exact, rounded;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const ValueId id = graph_.inputs()[i];
      exact[id] = inputs[i];
      const at::NoGradGuard no_grad;
      rounded[id] = Rounded(id, inputs[i]);
    }
    std::vector<UnitReconstruction> results;
    for (const ReconstructionUnit& unit : ReconstructionUnits(graph_, selection_)) {
      DS_RETURN_IF_ERROR(RunUnit(unit, exact, rounded, results));
    }
    return results;
  }

 private:
  // One unit's weights and biases, and how to run it with them.
  struct Learner {
    std::map<ValueId, SoftRounding> weights;
    ValueMap fixed;                 // weights that are rounded to nearest
    std::map<ValueId, int> biases;  // with the node that reads each
    ValueMap bias_values, moved_biases;
    std::optional<UnitRunner> runner;

    // The unit's constants. kind: 's'oft, 'h'ard, 'n'earest with the biases that are right for it.
    void Fill(char kind, ValueMap& values) const {
      for (const auto& [id, rounding] : weights) {
        values[id] = kind == 's'   ? rounding.Soft()
                     : kind == 'h' ? rounding.Hard()
                                   : rounding.Nearest();
      }
      for (const auto& [id, tensor] : fixed) values[id] = tensor;
      for (const auto& [id, tensor] : kind == 'n' ? bias_values : moved_biases) values[id] = tensor;
    }
  };

  at::Tensor Rounded(ValueId id, const at::Tensor& value) const {
    const auto found = activations_.find(id);
    if (found == activations_.end()) return value;
    const QuantParams& params = *found->second;
    return at::fake_quantize_per_tensor_affine(value, params.scales[0], params.zero_points[0],
                                               params.type.min(), params.type.max());
  }

  // Convolutions without a bias get one of zeros: rounding shifts their outputs' means too.
  void AddBiases() {
    for (const int n : selection_.multipliers) {
      const Node& node = graph_.nodes()[static_cast<size_t>(n)];
      const Tensor* weight = graph_.Constant(node.inputs[1]);
      const bool has_bias = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
      if (node.op != "Conv" || has_bias || weight == nullptr) continue;
      const Tensor zeros = Tensor::From<float>(
          {weight->dim(0)}, std::vector<float>(static_cast<size_t>(weight->dim(0))));
      const ValueId bias =
          graph_.AddInitializer(absl::StrCat(node.name, ".zero_bias"), zeros, true);
      Node& changed = graph_.mutable_nodes()[static_cast<size_t>(n)];
      changed.inputs.resize(3, kNoValue);
      changed.inputs[2] = bias;
    }
  }

  absl::Status RunUnit(const ReconstructionUnit& unit, ValueMap& exact, ValueMap& rounded,
                       std::vector<UnitReconstruction>& results) {
    DS_ASSIGN_OR_RETURN(const UnitRunner float_runner, UnitRunner::Create(graph_, unit, {}));
    DS_ASSIGN_OR_RETURN(const ValueMap targets, RunAll(float_runner, exact, {}, nullptr));
    DS_ASSIGN_OR_RETURN(Learner learner, MakeLearner(unit));
    UnitReconstruction result;
    result.first = graph_.nodes()[static_cast<size_t>(unit.nodes.front())].name;
    result.last = graph_.nodes()[static_cast<size_t>(unit.nodes.back())].name;
    DS_ASSIGN_OR_RETURN(result.nearest_error, Error(learner, 'n', rounded, targets));
    result.error = result.nearest_error;
    char kept = 'n';
    if (!learner.weights.empty() && result.nearest_error > 0) {
      DS_RETURN_IF_ERROR(Learn(learner, exact, rounded, targets, result.nearest_error));
      DS_ASSIGN_OR_RETURN(const double error, Error(learner, 'h', rounded, targets));
      if (error < result.nearest_error) {
        kept = 'h';
        result.error = error;
      }
    }
    for (const auto& [id, rounding] : learner.weights) {
      result.weights += rounding.variable().numel();
      if (kept == 'h') result.flipped += rounding.Flipped();
    }
    DS_ASSIGN_OR_RETURN(ValueMap next,
                        RunAll(*learner.runner, rounded, Constants(learner, kept), Change()));
    for (auto& [id, tensor] : next) tensor = Rounded(id, tensor);
    rounded = std::move(next);
    exact = targets;
    if (kept == 'h') DS_RETURN_IF_ERROR(WriteWeights(learner));
    DS_RETURN_IF_ERROR(
        WriteBiases(learner, kept == 'h' ? learner.moved_biases : learner.bias_values));
    results.push_back(std::move(result));
    return absl::OkStatus();
  }

  UnitRunner::Change Change() const {
    return [this](ValueId id, const at::Tensor& value) { return Rounded(id, value); };
  }

  static ValueMap Constants(const Learner& learner, char kind) {
    ValueMap values;
    learner.Fill(kind, values);
    return values;
  }

  absl::StatusOr<Learner> MakeLearner(const ReconstructionUnit& unit) const {
    Learner learner;
    std::set<ValueId> open;
    for (const int n : unit.nodes) {
      const Node& node = graph_.nodes()[static_cast<size_t>(n)];
      if (std::find(selection_.multipliers.begin(), selection_.multipliers.end(), n) ==
          selection_.multipliers.end())
        continue;
      const ValueId weight = node.inputs[1];
      const auto params = plan_.weights.find(graph_.value(weight).name);
      if (params == plan_.weights.end()) continue;
      auto rounding = SoftRounding::Create(*graph_.Constant(weight), params->second);
      if (!rounding.ok())
        return Annotate(rounding.status(), absl::StrCat("weight \"", params->first, "\""));
      open.insert(weight);
      // What two units read cannot follow one of them.
      if (reads_.at(weight) == 1) {
        learner.weights.emplace(weight, *rounding);
      } else {
        learner.fixed[weight] = rounding->Nearest();
      }
      if (!options_.learn_bias || !HasBias(node)) continue;
      const ValueId bias = node.inputs[2];
      open.insert(bias);
      learner.biases[bias] = n;
      learner.bias_values[bias] = CorrectedBias(n, bias);
      learner.moved_biases[bias] = ToTorch(*graph_.Constant(bias)).clone().set_requires_grad(true);
    }
    DS_ASSIGN_OR_RETURN(learner.runner, UnitRunner::Create(graph_, unit, open));
    return learner;
  }

  // Of node `n`, for nearest rounding.
  at::Tensor CorrectedBias(int n, ValueId bias) const {
    if (corrected_ == nullptr) return ToTorch(*graph_.Constant(bias)).clone();
    const Node& node = corrected_->nodes()[static_cast<size_t>(n)];
    if (node.inputs.size() < 3 || node.inputs[2] == kNoValue)
      return ToTorch(*graph_.Constant(bias)).clone();
    return ToTorch(*corrected_->Constant(node.inputs[2])).clone();
  }

  bool HasBias(const Node& node) const {
    if (node.op == "MatMul" || node.inputs.size() < 3 || node.inputs[2] == kNoValue ||
        reads_.at(node.inputs[2]) != 1)
      return false;
    const Tensor* bias = graph_.Constant(node.inputs[2]);
    return bias != nullptr && bias->dtype() == DType::kFloat32;
  }

  // All samples, a batch at a time.
  static absl::StatusOr<ValueMap> RunAll(const UnitRunner& runner, const ValueMap& inputs,
                                         const ValueMap& constants,
                                         const UnitRunner::Change& change) {
    constexpr int64_t kChunk = 64;
    const at::NoGradGuard no_grad;
    std::map<ValueId, std::vector<at::Tensor>> parts;
    for (int64_t begin = 0; begin < Samples(inputs); begin += kChunk) {
      ValueMap values = Narrow(inputs, begin, std::min(kChunk, Samples(inputs) - begin));
      for (const auto& [id, tensor] : constants) values[id] = tensor;
      DS_ASSIGN_OR_RETURN(ValueMap outputs, runner.Run(std::move(values), change));
      for (auto& [id, tensor] : outputs) parts[id].push_back(std::move(tensor));
    }
    ValueMap all;
    for (const auto& [id, tensors] : parts) all[id] = at::cat(tensors);
    return all;
  }

  absl::StatusOr<double> Error(const Learner& learner, char kind, const ValueMap& rounded,
                               const ValueMap& targets) const {
    const at::NoGradGuard no_grad;
    DS_ASSIGN_OR_RETURN(const ValueMap outputs,
                        RunAll(*learner.runner, rounded, Constants(learner, kind), Change()));
    return SquaredDistance(outputs, targets).to(at::kDouble).item<double>() /
           static_cast<double>(std::max<int64_t>(1, FloatElements(targets)));
  }

  absl::Status Learn(Learner& learner, const ValueMap& exact, const ValueMap& rounded,
                     const ValueMap& targets, double unit_error) {
    const at::AutoGradMode gradients(true);
    Adam adam;
    double weights = 0;
    for (const auto& [id, rounding] : learner.weights) {
      adam.Add(rounding.variable(), options_.learning_rate);
      weights += static_cast<double>(rounding.variable().numel());
    }
    for (const auto& [id, bias] : learner.moved_biases)
      adam.Add(bias, kBiasRate * Magnitude(targets));
    const UnitRunner::Change change = [this](ValueId id, const at::Tensor& value) {
      return activations_.contains(id) ? drop_.Mix(Rounded(id, value), value) : value;
    };
    for (int step = 0; step < options_.iterations; ++step) {
      const at::Tensor rows = NextRows(Samples(rounded));
      ValueMap values = Select(rounded, rows);
      for (auto& [id, tensor] : values) {
        if (drop_.active()) tensor = drop_.Mix(tensor, exact.at(id).index_select(0, rows));
      }
      learner.Fill('s', values);
      DS_ASSIGN_OR_RETURN(const ValueMap outputs, learner.runner->Run(std::move(values), change));
      const ValueMap wanted = Select(targets, rows);
      at::Tensor loss = SquaredDistance(outputs, wanted) /
                        (static_cast<double>(FloatElements(wanted)) * unit_error);
      const double progress = (static_cast<double>(step) / options_.iterations - options_.warm_up) /
                              (1 - options_.warm_up);
      if (progress >= 0) {
        const double beta = kFirstBeta + (kLastBeta - kFirstBeta) * progress;
        for (const auto& [id, rounding] : learner.weights)
          loss = loss + rounding.Regulariser(beta) * (options_.regularisation / weights);
      }
      loss.backward();
      adam.Step();
    }
    for (auto& [id, bias] : learner.moved_biases) bias = bias.detach();
    return absl::OkStatus();
  }

  static double Magnitude(const ValueMap& targets) {
    double most = 0;
    for (const auto& [id, target] : targets) {
      if (at::isFloatingType(target.scalar_type()))
        most = std::max(most, target.square().mean().sqrt().item<double>());
    }
    return most;
  }

  // Epoch after epoch in another order.
  at::Tensor NextRows(int64_t samples) {
    const int64_t batch = std::min(options_.batch, samples);
    if (!rows_.defined() || at_ + batch > samples || rows_.size(0) != samples) {
      rows_ = at::randperm(samples, order_, at::TensorOptions(at::kLong));
      at_ = 0;
    }
    at_ += batch;
    return rows_.narrow(0, at_ - batch, batch);
  }

  absl::Status WriteWeights(const Learner& learner) {
    for (const auto& [id, rounding] : learner.weights) {
      DS_ASSIGN_OR_RETURN(graph_.mutable_initializers().at(id).data, FromTorch(rounding.Hard()));
    }
    return absl::OkStatus();
  }

  absl::Status WriteBiases(const Learner& learner, const ValueMap& values) {
    for (const auto& [id, node] : learner.biases) {
      DS_ASSIGN_OR_RETURN(Tensor bias, FromTorch(values.at(id)));
      const std::string name =
          absl::StrCat(graph_.nodes()[static_cast<size_t>(node)].name, ".corrected_bias");
      const ValueId fresh = graph_.AddInitializer(name, std::move(bias), true);
      graph_.mutable_nodes()[static_cast<size_t>(node)].inputs[2] = fresh;
    }
    return absl::OkStatus();
  }

  Graph& graph_;
  const Graph* corrected_;
  const QuantSelection& selection_;
  const QuantPlan& plan_;
  const ReconstructionOptions options_;
  std::map<ValueId, int> reads_;
  std::map<ValueId, const QuantParams*> activations_;
  RandomDrop drop_;
  at::Generator order_;
  at::Tensor rows_;
  int64_t at_ = 0;
};

}  // namespace

absl::Status CheckReconstruction(const ReconstructionOptions& options) {
  const auto refuse = [](const auto&... what) {
    return absl::InvalidArgumentError(absl::StrCat("reconstruction: ", what...));
  };
  const std::set<std::string> methods = {"none", "auto", "gptq", "adaround", "qdrop"};
  if (!methods.contains(options.method))
    return refuse("method is \"", options.method,
                  "\"; it must be none, auto, gptq, adaround or qdrop");
  if (options.samples < 1 || options.iterations < 1 || options.batch < 1)
    return refuse("samples, iterations and batch are ", options.samples, ", ", options.iterations,
                  " and ", options.batch, "; each must be at least 1");
  if (!(options.learning_rate > 0) || !(options.regularisation > 0))
    return refuse("learning_rate and regularisation must be above 0");
  if (!(options.warm_up >= 0 && options.warm_up < 1))
    return refuse("warm_up is ", options.warm_up, "; it must be in [0, 1)");
  if (!(options.drop >= 0 && options.drop <= 1))
    return refuse("drop is ", options.drop, "; it must be in [0, 1]");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<UnitReconstruction>> ReconstructRounding(
    Graph& graph, const QuantSelection& selection, const QuantPlan& plan,
    const std::vector<at::Tensor>& inputs, const ReconstructionOptions& options,
    const Graph* corrected) {
  DS_RETURN_IF_ERROR(CheckReconstruction(options));
  if (options.method == "none") return std::vector<UnitReconstruction>();
  if (options.method == "auto" || options.method == "gptq")
    return absl::InvalidArgumentError(
        absl::StrCat("reconstruction: only the Quantizer knows what \"", options.method,
                     "\" is; give adaround or qdrop"));
  if (inputs.size() != graph.inputs().size() || inputs.empty() || inputs[0].size(0) < 1)
    return absl::InvalidArgumentError(
        "reconstruction: no samples; give it one tensor for each of the model's inputs");
  try {
    return Reconstructor(graph, selection, plan, options, corrected).Run(inputs);
  } catch (const c10::Error& error) {
    return absl::InternalError(
        absl::StrCat("reconstruction: LibTorch says: ", error.what_without_backtrace(),
                     "; with less memory take fewer samples"));
  }
}

}  // namespace ds
