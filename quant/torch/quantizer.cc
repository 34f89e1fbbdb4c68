#include "quant/torch/quantizer.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "ATen/Functions.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/passes/passes.h"
#include "graph/schema/schema.h"
#include "quant/floating/plan_cutter.h"
#include "quant/preparation.h"
#include "quant/repair/channel_spread.h"
#include "quant/repair/equalization.h"
#include "quant/repair/norm_migration.h"
#include "quant/selection.h"
#include "quant/torch/collector.h"
#include "quant/torch/floating/leave_float.h"
#include "quant/torch/floating/masks.h"
#include "quant/torch/floating/output_noise.h"
#include "quant/torch/ranges/range_chooser.h"
#include "quant/torch/rounding_repair.h"
#include "quant/torch/sensitivity.h"
#include "quant/torch/widths.h"
#include "quant/weight_params.h"

namespace ds {
namespace {

// Channels of a depthwise layer or a layer norm so far apart may want equalisation, which is then
// tried on so many samples.
constexpr double kMostSpread = 4;
constexpr int64_t kComparedSamples = 32;

// A large last layer gets blocks of few bits, if its outputs' relative squared error allows.
constexpr int64_t kClassifierBlock = 32;
constexpr double kMostClassifierError = 0.01;

}  // namespace

absl::StatusOr<Graph> InferenceGraph(Graph graph) {
  DS_RETURN_IF_ERROR(FoldWeights(graph));
  DS_RETURN_IF_ERROR(FoldBatchNorms(graph));
  DS_RETURN_IF_ERROR(SplitGatedActivations(graph));
  for (const Node& node : graph.nodes()) {
    if (node.op == "Dropout") graph.ReplaceUses(node.outputs[0], node.inputs[0]);
  }
  DS_RETURN_IF_ERROR(EliminateIdentities(graph));
  DS_RETURN_IF_ERROR(EliminateDeadNodes(graph));
  DS_RETURN_IF_ERROR(InferShapes(graph));
  return graph;
}

class Quantizer::Impl {
 public:
  Impl(Graph model, QuantizerOptions options)
      : options_(std::move(options)), status_(Prepare(std::move(model))) {}

  void Calibrate(const CalibrationData& data) {
    ranges_.Forget();
    if (status_.ok()) status_ = Collect(data);
    if (status_.ok()) KeepMasksFloat(graph_, *collector_, selection_);
  }

  // Equalisation is worth a try.
  bool MayBeEqualized() const { return spread_ > kMostSpread; }
  void set_compared() { is_compared_ = true; }

  // Of the outputs on some of the calibration data, by rounding alone; relative, squared.
  absl::StatusOr<double> OutputError() {
    DS_RETURN_IF_ERROR(CheckCalibrated());
    DS_ASSIGN_OR_RETURN(const QuantizedModel model, ConvertWith({}, false));
    return RoundedOutputError(graph_, model.graph, model.plan, kept_inputs_);
  }

  absl::StatusOr<QuantizedModel> Convert() {
    DS_RETURN_IF_ERROR(CheckCalibrated());
    if (!options_.mixed_bits.wanted()) return ConvertWith({}, true);
    if (ranges_.TriesCautions()) DS_RETURN_IF_ERROR(ChooseCaution());
    DS_ASSIGN_OR_RETURN(std::vector<LayerSensitivity> layers, Sensitivity());
    int64_t float_bytes = 0;
    for (const LayerSensitivity& layer : layers)
      float_bytes += layer.elements * int64_t{sizeof(float)};
    const auto plain = [this](const std::map<std::string, int>& bits) {
      return ConvertWith(bits, false);
    };
    const auto learnt = [this](const std::map<std::string, int>& bits) {
      return ConvertWith(bits, true);
    };
    return ChooseBits(std::move(layers), float_bytes, options_.mixed_bits, plain,
                      options_.reconstruction.method == "none" ? ConvertBits{} : learnt);
  }

 private:
  absl::Status CheckCalibrated() const {
    DS_RETURN_IF_ERROR(status_);
    if (collector_->samples() > 0 || options_.weights_only) return absl::OkStatus();
    return absl::FailedPreconditionError(
        "there is no calibration data: call calibrate() with at least one batch before convert()");
  }

  // `bits` of weights and activations by name; others have the options'. `may_learn`: the
  // roundings, if that is asked for.
  absl::StatusOr<QuantizedModel> ConvertWith(const std::map<std::string, int>& bits,
                                             bool may_learn) {
    QuantizedModel model;
    model.graph = graph_;
    model.calibrated = graph_;
    model.equalized = options_.equalization == "on";
    std::erase_if(selection_.activations,
                  [this](const ActivationSite& site) { return !IsKnown(site); });
    DS_RETURN_IF_ERROR(ChooseBlocks());
    if (ranges_.TriesCautions()) DS_RETURN_IF_ERROR(ChooseCaution());
    DS_RETURN_IF_ERROR(RoundWeights(bits, model));
    DS_RETURN_IF_ERROR(ranges_.Choose(bits, Data(), model));
    if (may_learn && options_.slow_layers_float && HasPlainBits() &&
        !options_.symmetric_activations) {
      LeaveSlowLayersFloat(graph_, kept_inputs_, selection_, model);
    }
    if (may_learn && MayLeaveFloat()) {
      DS_RETURN_IF_ERROR(LeaveFloat(SelectionIn(graph_, selection_, model.plan), *collector_,
                                    kept_inputs_, options_, model));
    }
    const RoundingRepair repair = {graph_, selection_, Data(), options_};
    DS_RETURN_IF_ERROR(repair.Run(may_learn, model));
    DS_RETURN_IF_ERROR(EliminateDeadNodes(model.graph));
    return model;
  }

  // With weights alone nobody asks.
  bool IsKnown(const ActivationSite& site) const {
    return options_.weights_only || collector_->Saw(site.value);
  }

  // 8 of all, and nobody has said where.
  bool HasPlainBits() const {
    return options_.bits == 8 && options_.activation_bits == 8 && options_.named_bits.empty() &&
           options_.group == 0 && !options_.mixed_bits.wanted() && !options_.for_training &&
           !options_.weights_only;
  }

  bool MayLeaveFloat() const { return options_.least_snr_db > 0 && HasPlainBits(); }

  absl::StatusOr<std::vector<LayerSensitivity>> Sensitivity() {
    SensitivityOptions options;
    options.storage = options_.mixed_bits.storage;
    options.bias_correction = options_.bias_correction;
    options.widths = [this](const WeightSite& site) { return widths_.Choices(site); };
    options.round = [this](const WeightSite& site, int bits) {
      return WeightParams(graph_.nodes()[static_cast<size_t>(site.node)], site,
                          *graph_.Constant(site.weight), bits);
    };
    options.activation_widths = [this](const ActivationSite& site) {
      return widths_.Choices(site);
    };
    options.round_activation = [this](const ActivationSite& site,
                                      int bits) -> absl::StatusOr<QuantParams> {
      const QuantType type = {.bits = bits, .is_signed = options_.symmetric_activations};
      DS_ASSIGN_OR_RETURN(const ChosenRange chosen, ranges_.Of(site, type, Data()));
      return ParamsForRange(type, chosen.range.low, chosen.range.high);
    };
    std::vector<LayerSensitivity> layers;
    if (options_.mixed_bits.weights) {
      DS_ASSIGN_OR_RETURN(
          layers, MeasureSensitivity(graph_, selection_, *collector_, kept_inputs_, options));
    }
    if (options_.mixed_bits.activations) {
      DS_ASSIGN_OR_RETURN(
          std::vector<LayerSensitivity> more,
          MeasureActivationSensitivity(graph_, selection_, *collector_, kept_inputs_, options));
      std::move(more.begin(), more.end(), std::back_inserter(layers));
    }
    return layers;
  }

  absl::Status Prepare(Graph model) {
    DS_RETURN_IF_ERROR(CheckOptions(options_));
    for (const Node& node : model.nodes()) {
      if (node.op != "QuantizeLinear" && node.op != "DequantizeLinear") continue;
      return absl::InvalidArgumentError(
          absl::StrCat("the model \"", model.name, "\" is quantised already (node \"", node.name,
                       "\" is a ", node.op, "); give the float model that it was made from"));
    }
    DS_ASSIGN_OR_RETURN(graph_, InferenceGraph(std::move(model)));
    if (!options_.for_training) {
      DS_RETURN_IF_ERROR(MergeLayers(graph_, WantsConstants() && !options_.weights_only));
    }
    if (options_.equalization == "on") {
      DS_RETURN_IF_ERROR(EqualizeLayers(graph_).status());
      MigrateNorms(graph_);
    }
    if (options_.equalization == "auto" && !options_.for_training && !options_.weights_only) {
      DS_ASSIGN_OR_RETURN(const double depthwise, DepthwiseSpread(graph_));
      spread_ = std::max(depthwise, NormSpread(graph_));
    }
    selection_ = SelectForQuantization(graph_, WantsConstants());
    const bool blocks = MayBlockClassifier() && LargeClassifier() != kNoValue;
    if (options_.group > 0 || blocks) {
      WeightsByInputs(graph_);
      selection_ = SelectForQuantization(graph_, WantsConstants());
    }
    if (options_.weights_only) KeepMatrices(graph_, selection_);
    if (MayBlockClassifier()) classifier_ = LargeClassifier();
    if (selection_.weights.empty()) {
      return absl::UnimplementedError(absl::StrCat(
          "the model \"", graph_.name, "\" has no ", options_.weights_only ? "" : "Conv, ",
          "Gemm or MatMul with constant float32 weights: there is nothing to quantise",
          OtherWeights(graph_)));
    }
    DS_RETURN_IF_ERROR(widths_.CheckNames());
    DS_ASSIGN_OR_RETURN(collector_, Collector::Create(graph_, selection_));
    return absl::OkStatus();
  }

  bool MayBlockClassifier() const {
    return options_.block_classifier && options_.bits <= kFewBits && options_.group == 0 &&
           !options_.mixed_bits.wanted() && !options_.for_training && !options_.weights_only &&
           !options_.symmetric_activations;
  }

  // A large last matrix whose bits nobody gave by name.
  ValueId LargeClassifier() const {
    const ValueId last = LargeLastMatrix(graph_, selection_);
    const bool named = last != kNoValue && options_.named_bits.contains(graph_.value(last).name);
    return named ? kNoValue : last;
  }

  // Whether the large last layer bears blocks of few bits.
  absl::Status ChooseBlocks() {
    if (classifier_ == kNoValue || blocked_ != kNoValue) return absl::OkStatus();
    blocked_ = classifier_;
    const WeightSite& site = selection_.weights.back();
    QuantPlan plan;
    DS_ASSIGN_OR_RETURN(plan.weights[graph_.value(site.weight).name],
                        WeightParams(graph_.nodes()[static_cast<size_t>(site.node)], site,
                                     *graph_.Constant(site.weight), options_.bits));
    DS_ASSIGN_OR_RETURN(const double error, RoundedOutputError(graph_, graph_, plan, kept_inputs_));
    if (error > kMostClassifierError) blocked_ = classifier_ = kNoValue;
    return absl::OkStatus();
  }

  Calibration Data() const { return {*collector_, kept_inputs_}; }

  absl::Status ChooseCaution() {
    QuantizedModel model;
    model.graph = graph_;
    DS_RETURN_IF_ERROR(RoundWeights({}, model));
    return ranges_.ChooseCaution(model.plan, Data());
  }

  // TensorRT adds and multiplies in float.
  bool WantsConstants() const { return !options_.for_training && !options_.symmetric_activations; }

  absl::Status Collect(const CalibrationData& data) {
    while (true) {
      DS_ASSIGN_OR_RETURN(const std::optional<std::vector<at::Tensor>> batch, data());
      if (!batch.has_value()) return absl::OkStatus();
      DS_RETURN_IF_ERROR(collector_->Add(*batch));
      Keep(*batch);
    }
  }

  // Whether roundings may be learnt, which takes more samples than all else.
  bool MayLearn() const {
    const std::string& method = options_.reconstruction.method;
    return method == "adaround" || method == "qdrop" || (method == "auto" && !HasPlainBits());
  }

  // How many samples to keep for measuring sensitivity and for reconstruction.
  int64_t WantedSamples() const {
    const int64_t sensitivity = options_.mixed_bits.wanted() ? options_.mixed_bits.samples : 0;
    const int64_t reconstruction = MayLearn() ? options_.reconstruction.samples : 0;
    const bool compares = is_compared_ || MayBeEqualized() || classifier_ != kNoValue ||
                          MayLeaveFloat() || ranges_.TriesCautions() || CorrectsBiases(options_) ||
                          options_.slow_layers_float || options_.reconstruction.method == "gptq";
    const int64_t comparison = compares ? kComparedSamples : 0;
    return std::max({sensitivity, reconstruction, comparison});
  }

  // A graph of a fixed first axis runs on nothing shorter.
  bool HasOpenBatch() const {
    const std::optional<Shape>& shape = graph_.value(graph_.inputs()[0]).shape;
    return shape.has_value() && !shape->empty() && shape->front() == kDynamicDim;
  }

  void Keep(const std::vector<at::Tensor>& batch) {
    if (batch.empty() || batch[0].dim() == 0 || kept_samples_ >= WantedSamples()) return;
    const int64_t whole = batch[0].size(0);
    const int64_t taken = HasOpenBatch() ? std::min(whole, WantedSamples() - kept_samples_) : whole;
    if (taken < 1) return;
    std::vector<at::Tensor>& kept = kept_inputs_.emplace_back();
    for (const at::Tensor& input : batch) {
      const bool batched = input.dim() > 0 && input.size(0) == batch[0].size(0);
      kept.push_back((batched ? input.narrow(0, 0, taken) : input).clone());
    }
    kept_samples_ += taken;
  }

  absl::Status RoundWeights(const std::map<std::string, int>& weight_bits, QuantizedModel& model) {
    for (const WeightSite& site : selection_.weights) {
      const Node& node = graph_.nodes()[static_cast<size_t>(site.node)];
      const std::string& name = graph_.value(site.weight).name;
      const Tensor& weight = *graph_.Constant(site.weight);
      DS_ASSIGN_OR_RETURN(
          model.plan.weights[name],
          WeightParams(node, site, weight,
                       site.weight == blocked_ ? options_.bits : widths_.Of(site, weight_bits)));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<QuantParams> WeightParams(const Node& node, const WeightSite& site,
                                           const Tensor& weight, int bits) const {
    WeightQuantOptions options;
    options.bits = bits;
    options.method = WeightRangeMethod::kMse;
    options.axis = site.channel_axis;
    const int64_t group = site.weight == blocked_ ? kClassifierBlock : options_.group;
    if (group > 0 && node.op != "Conv" && weight.rank() == 2) {
      options.axis = 1 - site.channel_axis;  // groups run along the inputs
      options.group = group;
    }
    auto params = ChooseWeightParams(weight.span<float>(), weight.shape(), options);
    return params.ok()
               ? params
               : Annotate(params.status(), absl::StrCat("weight \"", graph_.value(site.weight).name,
                                                        "\" of node \"", node.name, "\""));
  }

  const QuantizerOptions options_;
  Graph graph_;
  QuantSelection selection_;
  const Widths widths_{graph_, selection_, options_};
  std::unique_ptr<Collector> collector_;
  RangeChooser ranges_{graph_, selection_, widths_, options_};
  std::vector<std::vector<at::Tensor>> kept_inputs_;  // batches, each the model's inputs
  int64_t kept_samples_ = 0;
  ValueId classifier_ = kNoValue, blocked_ = kNoValue;  // may have blocks; has
  double spread_ = 1;  // of depthwise or normalised channels, where that decides
  bool is_compared_ = false;
  absl::Status status_;  // made last: Prepare fills the others in
};

Quantizer::Quantizer(Graph model, QuantizerOptions options)
    : impl_(std::make_unique<Impl>(model, options)) {
  if (!impl_->MayBeEqualized()) return;
  options.equalization = "on";
  equalized_ = std::make_unique<Impl>(std::move(model), std::move(options));
  equalized_->set_compared();
}
Quantizer::Quantizer(Quantizer&&) = default;
Quantizer::~Quantizer() = default;

Quantizer& Quantizer::calibrate(const CalibrationData& data) {
  if (equalized_ == nullptr) {
    impl_->Calibrate(data);
    return *this;
  }
  // Both see every batch.
  std::optional<absl::StatusOr<std::optional<std::vector<at::Tensor>>>> batch;
  const auto once = [&batch]() -> absl::StatusOr<std::optional<std::vector<at::Tensor>>> {
    if (!batch.has_value()) return std::nullopt;
    return *std::exchange(batch, std::nullopt);
  };
  while (true) {
    const auto next = data();
    for (Impl* impl : {impl_.get(), equalized_.get()}) {
      batch = next;
      impl->Calibrate(once);
    }
    if (!next.ok() || !next->has_value()) return *this;
  }
}

absl::StatusOr<QuantizedModel> Quantizer::convert() {
  if (equalized_ == nullptr) return impl_->Convert();
  DS_ASSIGN_OR_RETURN(const double plain, impl_->OutputError());
  DS_ASSIGN_OR_RETURN(const double equalized, equalized_->OutputError());
  return (equalized < plain ? equalized_ : impl_)->Convert();
}

}  // namespace ds
