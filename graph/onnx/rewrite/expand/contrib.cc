#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "graph/onnx/rewrite/emitter.h"
#include "graph/onnx/rewrite/expand/expand.h"

namespace ds::onnx_io {
namespace {

constexpr float kQuickGeluAlpha = 1.702F;

class Expansion {
 public:
  Expansion(Graph& graph, const Node& node, const absl::flat_hash_set<ValueId>& used)
      : emit_(graph, node), node_(node), used_(used) {}

  absl::StatusOr<bool> Run() {
    const std::string op(absl::StripPrefix(node_.op, kContribPrefix));
    if (op == "SimplifiedLayerNormalization") return Done(RmsNorm());  // in either domain
    if (op == node_.op) return false;
    if (op == "Gelu" || op == "BiasGelu") return Done(Gelu("none"));
    if (op == "FastGelu") return Done(Gelu("tanh"));
    if (op == "QuickGelu") return Done(QuickGelu());
    if (op == "FusedMatMul" || op == "TransposeMatMul") return Done(MatMul());
    if (op == "FusedConv") return Done(Conv());
    if (op == "FusedGemm") return Done(Gemm());
    if (op == "SkipLayerNormalization") return Done(SkipNorm());
    if (op == "SkipSimplifiedLayerNormalization") return Done(SkipRmsNorm());
    return false;
  }

 private:
  absl::Status RefuseUsed(size_t slot) const {
    if (slot >= node_.outputs.size() || !used_.contains(node_.outputs[slot])) {
      return absl::OkStatus();
    }
    return absl::UnimplementedError(
        absl::StrCat("its output ", slot, " is read, which is not supported"));
  }

  absl::Status Gelu(const std::string& kind) {
    DS_RETURN_IF_ERROR(emit_.Need(1));
    const ValueId x = emit_.Has(1) ? emit_.Op("Add", {emit_.In(0), emit_.In(1)}) : emit_.In(0);
    emit_.Finish("Gelu", {x}, {{"approximate", kind}});
    return absl::OkStatus();
  }

  absl::Status QuickGelu() {
    DS_RETURN_IF_ERROR(emit_.Need(1));
    DS_ASSIGN_OR_RETURN(
        const ValueId alpha,
        emit_.Number("alpha", FloatOr(node_, "alpha", kQuickGeluAlpha), emit_.In(0)));
    const ValueId gate = emit_.Op("Sigmoid", {emit_.Op("Mul", {emit_.In(0), alpha})});
    emit_.Finish("Mul", {emit_.In(0), gate});
    return absl::OkStatus();
  }

  // Input `slot` with its last two axes exchanged, if the attribute says so.
  absl::StatusOr<ValueId> Operand(size_t slot, const std::string& flag) {
    if (IntOr(node_, flag, 0) == 0) return emit_.In(slot);
    DS_ASSIGN_OR_RETURN(const Shape shape, emit_.ShapeOf(emit_.In(slot)));
    std::vector<int64_t> axes(shape.size());
    for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int64_t>(i);
    if (axes.size() >= 2) std::swap(axes[axes.size() - 1], axes[axes.size() - 2]);
    return emit_.Op("Transpose", {emit_.In(slot)}, {{"perm", axes}});
  }

  absl::Status MatMul() {
    DS_RETURN_IF_ERROR(emit_.Need(2));
    if (IntOr(node_, "transBatchA", 0) != 0 || IntOr(node_, "transBatchB", 0) != 0) {
      return absl::UnimplementedError(
          "attributes 'transBatchA' and 'transBatchB' are not supported");
    }
    DS_ASSIGN_OR_RETURN(const ValueId a, Operand(0, "transA"));
    DS_ASSIGN_OR_RETURN(const ValueId b, Operand(1, "transB"));
    const float alpha = FloatOr(node_, "alpha", 1.0F);
    if (alpha == 1.0F) {
      emit_.Finish("MatMul", {a, b});
      return absl::OkStatus();
    }
    DS_ASSIGN_OR_RETURN(const ValueId scale, emit_.Number("alpha", alpha, a));
    emit_.Finish("Mul", {emit_.Op("MatMul", {a, b}), scale});
    return absl::OkStatus();
  }

  // Takes the attributes that describe an activation out of `attributes`.
  struct Activation {
    std::string name;
    std::vector<float> parameters;
  };
  Activation TakeActivation(Attributes& attributes) const {
    Activation activation;
    if (auto it = attributes.find("activation"); it != attributes.end()) {
      if (const auto* name = std::get_if<std::string>(&it->second)) activation.name = *name;
    }
    if (auto it = attributes.find("activation_params"); it != attributes.end()) {
      if (const auto* given = std::get_if<std::vector<float>>(&it->second)) {
        activation.parameters = *given;
      }
    }
    for (const char* key : {"activation_alpha", "activation_beta", "activation_gamma"}) {
      if (attributes.contains(key)) activation.parameters.push_back(FloatOr(node_, key, 0.0F));
      attributes.erase(key);
    }
    attributes.erase("activation");
    attributes.erase("activation_params");
    return activation;
  }

  absl::Status Activate(ValueId x, const Activation& activation) {
    const auto parameter = [&](size_t i, float fallback) {
      return i < activation.parameters.size() ? activation.parameters[i] : fallback;
    };
    const std::string& name = activation.name;
    if (name.empty()) {
      emit_.Finish("Identity", {x});
    } else if (name == "Relu" || name == "Sigmoid" || name == "Tanh") {
      emit_.Finish(name, {x});
    } else if (name == "LeakyRelu") {
      emit_.Finish(name, {x}, {{"alpha", parameter(0, 0.01F)}});
    } else if (name == "HardSigmoid") {
      emit_.Finish(name, {x}, {{"alpha", parameter(0, 0.2F)}, {"beta", parameter(1, 0.5F)}});
    } else if (name == "Clip" && activation.parameters.size() == 2) {
      DS_ASSIGN_OR_RETURN(const ValueId low, emit_.Number("min", parameter(0, 0), x));
      DS_ASSIGN_OR_RETURN(const ValueId high, emit_.Number("max", parameter(1, 0), x));
      emit_.Finish(name, {x, low, high});
    } else {
      return absl::UnimplementedError(
          absl::StrCat("its activation '", name,
                       "' is not supported; supported are Relu, Sigmoid, Tanh, LeakyRelu, "
                       "HardSigmoid and Clip: save the model before ONNX Runtime optimises it"));
    }
    return absl::OkStatus();
  }

  absl::Status Conv() {
    DS_RETURN_IF_ERROR(emit_.Need(2));
    Attributes attributes = node_.attributes;
    const Activation activation = TakeActivation(attributes);
    ValueId y = emit_.Op("Conv", {emit_.In(0), emit_.In(1), emit_.In(2)}, attributes);
    if (emit_.Has(3)) y = emit_.Op("Add", {y, emit_.In(3)});
    return Activate(y, activation);
  }

  absl::Status Gemm() {
    DS_RETURN_IF_ERROR(emit_.Need(2));
    Attributes attributes = node_.attributes;
    const Activation activation = TakeActivation(attributes);
    return Activate(emit_.Op("Gemm", {emit_.In(0), emit_.In(1), emit_.In(2)}, attributes),
                    activation);
  }

  // Inputs 0 and 1 with the bias in `slot`; outputs result, mean, inverse deviation, this sum.
  absl::StatusOr<ValueId> SkipSum(size_t slot) {
    DS_RETURN_IF_ERROR(emit_.Need(3));
    DS_RETURN_IF_ERROR(RefuseUsed(1));
    DS_RETURN_IF_ERROR(RefuseUsed(2));
    ValueId sum = emit_.Op("Add", {emit_.In(0), emit_.In(1)});
    if (emit_.Has(slot)) sum = emit_.Op("Add", {sum, emit_.In(slot)});
    if (node_.outputs.size() > 3 && node_.outputs[3] != kNoValue) {
      emit_.Finish("Identity", {sum}, {}, 3);
    }
    return sum;
  }

  // Inputs input, skip, gamma, beta, bias.
  absl::Status SkipNorm() {
    DS_ASSIGN_OR_RETURN(const ValueId sum, SkipSum(4));
    emit_.Finish("LayerNormalization", {sum, emit_.In(2), emit_.In(3)},
                 {{"axis", int64_t{-1}}, {"epsilon", FloatOr(node_, "epsilon", 1e-12F)}});
    return absl::OkStatus();
  }

  // Inputs input, skip, gamma, bias.
  absl::Status SkipRmsNorm() {
    DS_ASSIGN_OR_RETURN(const ValueId sum, SkipSum(3));
    return FinishRms(sum, emit_.In(2), 1e-12F);
  }

  absl::Status RmsNorm() {
    DS_RETURN_IF_ERROR(emit_.Need(2));
    DS_RETURN_IF_ERROR(RefuseUsed(1));
    DS_ASSIGN_OR_RETURN(const Shape shape, emit_.ShapeOf(emit_.In(0)));
    const auto last = static_cast<int64_t>(shape.size()) - 1;
    if (const int64_t axis = IntOr(node_, "axis", -1); axis != -1 && axis != last) {
      return absl::UnimplementedError("over several axes it is not supported, only over the last");
    }
    return FinishRms(emit_.In(0), emit_.In(1), 1e-5F);
  }

  // x / sqrt(mean(x^2) + epsilon) * scale over the last axis; epsilon is `usual` by default.
  absl::Status FinishRms(ValueId x, ValueId scale, float usual) {
    DS_ASSIGN_OR_RETURN(const ValueId epsilon,
                        emit_.Number("epsilon", FloatOr(node_, "epsilon", usual), x));
    const ValueId square = emit_.Op("Mul", {x, x});
    const ValueId mean = emit_.Op("ReduceMean", {square}, {{"axes", std::vector<int64_t>{-1}}});
    const ValueId root = emit_.Op("Sqrt", {emit_.Op("Add", {mean, epsilon})});
    emit_.Finish("Mul", {emit_.Op("Div", {x, root}), scale});
    return absl::OkStatus();
  }

  Emitter emit_;
  const Node& node_;
  const absl::flat_hash_set<ValueId>& used_;
};

}  // namespace

absl::StatusOr<bool> ExpandContrib(Graph& graph, const Node& node,
                                   const absl::flat_hash_set<ValueId>& used) {
  return Expansion(graph, node, used).Run();
}

bool IsContrib(absl::string_view op) { return op == "DynamicQuantizeLSTM"; }

bool IsExpanded(absl::string_view op) {
  static constexpr absl::string_view kOperators[] = {
      "QLinearConv",
      "QLinearMatMul",
      "ConvInteger",
      "MatMulInteger",
      "SimplifiedLayerNormalization",
      "STFT",
      "Scatter",
      "com.microsoft.BiasGelu",
      "com.microsoft.DequantizeLinear",
      "com.microsoft.DynamicQuantizeLSTM",
      "com.microsoft.DynamicQuantizeMatMul",
      "com.microsoft.FastGelu",
      "com.microsoft.FusedConv",
      "com.microsoft.FusedGemm",
      "com.microsoft.FusedMatMul",
      "com.microsoft.Gelu",
      "com.microsoft.MatMulIntegerToFloat",
      "com.microsoft.MatMulNBits",
      "com.microsoft.QGemm",
      "com.microsoft.QLinearAdd",
      "com.microsoft.QLinearAveragePool",
      "com.microsoft.QLinearConcat",
      "com.microsoft.QLinearGlobalAveragePool",
      "com.microsoft.QLinearLeakyRelu",
      "com.microsoft.QLinearMul",
      "com.microsoft.QLinearSigmoid",
      "com.microsoft.QLinearSoftmax",
      "com.microsoft.QLinearWhere",
      "com.microsoft.QuantizeLinear",
      "com.microsoft.QuickGelu",
      "com.microsoft.SimplifiedLayerNormalization",
      "com.microsoft.SkipLayerNormalization",
      "com.microsoft.SkipSimplifiedLayerNormalization",
      "com.microsoft.TransposeMatMul"};
  return std::find(std::begin(kOperators), std::end(kOperators), op) != std::end(kOperators);
}

}  // namespace ds::onnx_io
