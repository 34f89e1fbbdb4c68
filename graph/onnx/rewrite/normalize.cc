#include "graph/onnx/rewrite/normalize.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/onnx/rewrite/emitter.h"
#include "graph/onnx/rewrite/expand/expand.h"
#include "graph/onnx/rewrite/node_attributes.h"
#include "graph/schema/schema.h"

namespace ds::onnx_io {

absl::Status Normalizer::Append(Node node, const absl::flat_hash_set<ValueId>& used) {
  while (!node.inputs.empty() && node.inputs.back() == kNoValue) node.inputs.pop_back();
  DS_RETURN_IF_ERROR(UpdateOldForm(graph_, node, opset_));
  DS_ASSIGN_OR_RETURN(const bool expanded, Expand(node, used));
  if (expanded) return absl::OkStatus();
  DS_RETURN_IF_ERROR(Rewrite(node, used));
  while (!node.inputs.empty() && node.inputs.back() == kNoValue) node.inputs.pop_back();
  graph_.AddNode(std::move(node));
  return absl::OkStatus();
}

absl::StatusOr<bool> Normalizer::Expand(const Node& node,
                                        const absl::flat_hash_set<ValueId>& used) {
  DS_ASSIGN_OR_RETURN(bool done, sequences_.Expand(node));
  if (done) return true;
  DS_ASSIGN_OR_RETURN(done, ExpandQuantized(graph_, node));
  if (done) return true;
  DS_ASSIGN_OR_RETURN(done, ExpandContrib(graph_, node, used));
  if (done) return true;
  DS_ASSIGN_OR_RETURN(done, ExpandSpectra(graph_, node));
  if (done) return true;
  return ExpandRecurrent(graph_, node);
}

absl::Status Normalizer::Rewrite(Node& node, const absl::flat_hash_set<ValueId>& used) {
  const std::string& op = node.op;
  if (op == "BatchNormalization") {
    DS_RETURN_IF_ERROR(DropIfNeutral<int64_t>(node, "spatial", 1));
    DS_RETURN_IF_ERROR(RewriteBatchNorm(node));
    return KeepFirstOutput(node, used);
  }
  if (op == "MaxPool") {
    DropUnused(node, used);
    if (node.outputs.size() < 2) node.attributes.erase("storage_order");  // about the indices
    return absl::OkStatus();
  }
  if (op == "LayerNormalization" || op == "RMSNormalization") {
    DropUnused(node, used);
    return DropIfNeutral<int64_t>(node, "stash_type", 1);
  }
  if (op == "GroupNormalization") return RewriteGroupNormalization(node);
  if (op == "CastLike") return RewriteCastLike(node);
  if (op == "GridSample") return RewriteGridSample(node);
  if (op == "Upsample") return RewriteUpsample(node);
  if (op == "Cast") {
    node.attributes.erase("saturate");    // about float8 only
    node.attributes.erase("round_mode");  // about float8 only
    return absl::OkStatus();
  }
  if (op == "Squeeze" || op == "Unsqueeze") {
    if (opset_ < 13) AttributeToInput(node, "axes", 1);
    return absl::OkStatus();
  }
  if (op == "Softmax" || op == "LogSoftmax" || op == "Hardmax") return RewriteSoftmax(node);
  if (op == "MeanVarianceNormalization") {
    // onnx.checker expands the operator without its attributes' defaults.
    node.attributes.try_emplace("axes", std::vector<int64_t>{0, 2, 3});
    return absl::OkStatus();
  }
  if (op == "Dropout") {
    DropUnused(node, used);
    return RewriteDropout(node);
  }
  if (op.starts_with("Reduce")) return RewriteReduction(node);
  if (op == "Split") return RewriteSplit(node);
  if (op == "Pad") return RewritePad(node);
  if (op == "Resize") return RewriteResize(node);
  if (op == "Swish") return RewriteSwish(node);
  if (op == "QuantizeLinear" || op == "DequantizeLinear") return RewriteQuantization(node);
  return absl::OkStatus();
}

absl::Status Normalizer::KeepFirstOutput(Node& node, const absl::flat_hash_set<ValueId>& used) {
  for (size_t i = 1; i < node.outputs.size(); ++i) {
    if (node.outputs[i] != kNoValue && used.contains(node.outputs[i])) {
      return absl::UnimplementedError(absl::StrCat(
          "its output ", i, " \"", graph_.value(node.outputs[i]).name,
          "\" is used, but only output 0 is supported; export the model for inference"));
    }
  }
  if (!node.outputs.empty()) node.outputs.resize(1);
  return absl::OkStatus();
}

void Normalizer::DropUnused(Node& node, const absl::flat_hash_set<ValueId>& used) {
  while (node.outputs.size() > 1 &&
         (node.outputs.back() == kNoValue || !used.contains(node.outputs.back()))) {
    node.outputs.pop_back();
  }
}

// Before opset 13 Softmax saw its input as a matrix [extents before axis, extents from axis on] and
// normalised the rows.
absl::Status Normalizer::RewriteSoftmax(Node& node) {
  Emitter emit(graph_, node);
  if (opset_ >= 13 || node.inputs.empty() || node.outputs.empty()) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(int64_t axis, Get<int64_t>(node, "axis", 1));
  node.attributes["axis"] = int64_t{-1};
  if (axis == -1) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(const Shape shape, emit.ShapeOf(node.inputs[0]));
  const auto rank = static_cast<int64_t>(shape.size());
  DS_ASSIGN_OR_RETURN(axis, InRange(axis, rank));
  if (axis == rank - 1) return absl::OkStatus();
  const ValueId matrix = emit.Op("Flatten", {node.inputs[0]}, {{"axis", axis}});
  const ValueId rows = emit.Op(node.op, {matrix}, node.attributes);
  if (std::count(shape.begin(), shape.end(), kDynamicDim) > 1) {
    return absl::UnimplementedError(absl::StrCat(
        "over several axes of shape ", ShapeString(shape),
        " with more than one unknown extent is not supported; export with opset 13 or newer"));
  }
  node.op = "Reshape";  // the one unknown extent is written -1
  node.attributes.clear();
  node.inputs = {rows, emit.Constant("shape", Tensor::From<int64_t>({rank}, shape))};
  return absl::OkStatus();
}

absl::Status Normalizer::RewriteDropout(Node& node) {
  Emitter emit(graph_, node);
  node.attributes.erase("seed");
  if (node.attributes.contains("ratio")) {
    DS_ASSIGN_OR_RETURN(const float ratio, Get<float>(node, "ratio", 0.5F));
    node.attributes.erase("ratio");
    node.inputs.resize(1, kNoValue);
    node.inputs.push_back(emit.Constant("ratio", Tensor::Scalar(ratio)));
  }
  // Training or not is the executor's choice, not the file's.
  const Tensor* trains = HasInput(node, 2) ? graph_.Constant(node.inputs[2]) : nullptr;
  if (trains != nullptr && trains->num_elements() == 1 && trains->data()[0] != std::byte{0})
    training_dropouts_.push_back(node.name);
  if (HasInput(node, 2) && graph_.Constant(node.inputs[2]) == nullptr) {
    return absl::UnimplementedError(
        "its training_mode is computed at run time; make it a constant");
  }
  if (node.inputs.size() > 2) node.inputs.resize(2);
  return absl::OkStatus();
}

// The graph's own form has constant axes as an attribute, but for ReduceSum.
absl::Status Normalizer::RewriteReduction(Node& node) {
  if (node.op == "ReduceSum") {
    if (opset_ < 13) AttributeToInput(node, "axes", 1);
    return absl::OkStatus();
  }
  if (opset_ < 18) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(const int64_t keep_all, Get<int64_t>(node, "noop_with_empty_axes", 0));
  if (HasInput(node, 1) && graph_.Constant(node.inputs[1]) == nullptr) return absl::OkStatus();
  std::vector<int64_t> axes;
  if (HasInput(node, 1)) {
    DS_ASSIGN_OR_RETURN(axes, ConstantInts(node, 1));
  }
  if (!node.inputs.empty()) node.inputs.resize(1);
  if (!axes.empty() || keep_all == 0) node.attributes.erase("noop_with_empty_axes");
  if (!axes.empty()) node.attributes["axes"] = std::move(axes);
  // What is left of the others on single elements is more than nothing: |x|, x^2, log(x).
  const bool alone = node.op == "ReduceMean" || node.op == "ReduceMax" || node.op == "ReduceMin" ||
                     node.op == "ReduceProd";
  if (node.attributes.contains("noop_with_empty_axes") && alone) {
    node.op = "Identity";
    node.attributes.clear();
  }
  return absl::OkStatus();
}

// Opset 18 had a scale and a bias for each group; the graph has them for each channel.
absl::Status Normalizer::RewriteGroupNormalization(Node& node) {
  Emitter emit(graph_, node);
  DS_RETURN_IF_ERROR(DropIfNeutral<int64_t>(node, "stash_type", 1));
  if (opset_ >= 21 || node.inputs.size() != 3) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(const int64_t groups, Get<int64_t>(node, "num_groups", 0));
  DS_ASSIGN_OR_RETURN(const Shape shape, emit.ShapeOf(node.inputs[0]));
  if (shape.size() < 2 || shape[1] == kDynamicDim || groups < 1 || shape[1] % groups != 0) {
    return absl::UnimplementedError(
        absl::StrCat("num_groups ", groups, " of shape ", ShapeString(shape),
                     " needs a known number of channels that it divides"));
  }
  for (size_t slot = 1; slot < 3; ++slot) {
    const std::string what = slot == 1 ? "scale" : "bias";
    const ValueId column = emit.Constant(what + ".column", Ints({groups, 1}));
    const ValueId spread = emit.Constant(what + ".spread", Ints({groups, shape[1] / groups}));
    const ValueId flat = emit.Constant(what + ".flat", Ints({shape[1]}));
    const ValueId matrix = emit.Op("Reshape", {node.inputs[slot], column});
    const ValueId wide = emit.Op("Expand", {matrix, spread});
    node.inputs[slot] = emit.Op("Reshape", {wide, flat});
  }
  return absl::OkStatus();
}

absl::Status Normalizer::RewriteCastLike(Node& node) {
  Emitter emit(graph_, node);
  node.attributes.clear();  // about float8 only
  if (node.inputs.size() != 2) return absl::InvalidArgumentError("it must have two inputs");
  DS_RETURN_IF_ERROR(emit.ShapeOf(node.inputs[1]).status());  // infers the type, too
  node.attributes["to"] = OnnxTypeNumber(graph_.value(node.inputs[1]).dtype);
  node.inputs.resize(1);
  node.op = "Cast";
  return absl::OkStatus();
}

absl::Status Normalizer::RewriteSplit(Node& node) {
  Emitter emit(graph_, node);
  if (opset_ < 13) {
    AttributeToInput(node, "split", 1);
    return absl::OkStatus();
  }
  if (!node.attributes.contains("num_outputs")) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(const int64_t parts, Get<int64_t>(node, "num_outputs", 0));
  DS_ASSIGN_OR_RETURN(int64_t axis, Get<int64_t>(node, "axis", 0));
  node.attributes.erase("num_outputs");
  if (parts != static_cast<int64_t>(node.outputs.size()) || node.inputs.size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat("num_outputs is ", parts, ", but it has ",
                                                   node.outputs.size(), " outputs and ",
                                                   node.inputs.size(), " inputs"));
  }
  DS_ASSIGN_OR_RETURN(const Shape shape, emit.ShapeOf(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(axis, InRange(axis, static_cast<int64_t>(shape.size())));
  const int64_t extent = shape[axis];
  if (extent == kDynamicDim) return absl::OkStatus();  // equal parts, checked when it runs
  // Opset 18: parts of ceil(extent / parts), the last one smaller.
  const int64_t size = (extent + parts - 1) / parts;
  std::vector<int64_t> sizes(static_cast<size_t>(parts), size);
  sizes.back() = extent - size * (parts - 1);
  node.inputs.push_back(emit.Constant("split", Tensor::From<int64_t>({parts}, sizes)));
  return absl::OkStatus();
}

absl::Status Normalizer::RewriteSwish(Node& node) {
  Emitter emit(graph_, node);
  DS_ASSIGN_OR_RETURN(const float alpha, Get<float>(node, "alpha", 1.0F));
  node.attributes.erase("alpha");
  if (alpha == 1.0F || node.inputs.size() != 1) {
    node.op = "SiLU";
    return absl::OkStatus();
  }
  const ValueId x = node.inputs[0];
  DS_ASSIGN_OR_RETURN(const ValueId scale, emit.Number("alpha", alpha, x));
  const ValueId scaled = emit.Op("Mul", {x, scale});
  const ValueId gate = emit.Op("Sigmoid", {scaled});
  node.op = "Mul";
  node.inputs = {x, gate};
  return absl::OkStatus();
}

// The graph has the type of codes from the zero point alone, and that of reals from the scale.
absl::Status Normalizer::RewriteQuantization(Node& node) {
  Emitter emit(graph_, node);
  node.attributes.erase("saturate");  // about float8 only
  if (!HasInput(node, 1)) return absl::OkStatus();
  const DType real = graph_.value(node.inputs[1]).dtype;
  DS_ASSIGN_OR_RETURN(const int64_t precision, Get<int64_t>(node, "precision", 0));
  DS_ASSIGN_OR_RETURN(const int64_t number, Get<int64_t>(node, "output_dtype", 0));
  node.attributes.erase("precision");
  node.attributes.erase("output_dtype");
  if (precision != 0 && precision != OnnxTypeNumber(real)) {
    return absl::UnimplementedError(absl::StrCat("attribute \"precision\" is ", precision,
                                                 "; only the scale's own type is supported"));
  }
  if (number == 0) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(const DType wanted, DTypeFromOnnxTypeNumber(number));
  if (node.op == "DequantizeLinear") {
    if (wanted == real) return absl::OkStatus();
    return absl::UnimplementedError("attribute \"output_dtype\" must be the scale's type");
  }
  if (HasInput(node, 2)) {
    if (graph_.value(node.inputs[2]).dtype == wanted) return absl::OkStatus();
    return absl::InvalidArgumentError("attribute \"output_dtype\" must be the zero point's type");
  }
  const Tensor* scale = graph_.Constant(node.inputs[1]);
  if (scale == nullptr) {
    return absl::UnimplementedError("without a zero point, its scale must be a constant");
  }
  DS_ASSIGN_OR_RETURN(Tensor zeros, Tensor::Create(wanted, scale->shape()));
  node.inputs.resize(3, kNoValue);
  node.inputs[2] = emit.Constant("zero_point", std::move(zeros));
  return absl::OkStatus();
}

void Normalizer::AttributeToInput(Node& node, const std::string& key, size_t slot) {
  Emitter emit(graph_, node);
  auto it = node.attributes.find(key);
  if (it == node.attributes.end()) return;
  const auto* values = std::get_if<std::vector<int64_t>>(&it->second);
  if (values == nullptr) return;  // left for the schema to refuse
  const Shape shape = {static_cast<int64_t>(values->size())};
  const Tensor tensor = Tensor::From<int64_t>(shape, *values);
  node.inputs.resize(std::max(node.inputs.size(), slot + 1), kNoValue);
  node.inputs[slot] = emit.Constant(key, tensor);
  node.attributes.erase(it);
}

absl::StatusOr<std::vector<int64_t>> Normalizer::ConstantInts(const Node& node, size_t slot) const {
  const Tensor* tensor = HasInput(node, slot) ? graph_.Constant(node.inputs[slot]) : nullptr;
  if (tensor == nullptr || tensor->dtype() != DType::kInt64) {
    return absl::UnimplementedError(absl::StrCat(
        "its input ", slot, " must be a constant int64 tensor; export with constant folding"));
  }
  const absl::Span<const int64_t> values = tensor->span<int64_t>();
  return std::vector<int64_t>(values.begin(), values.end());
}

}  // namespace ds::onnx_io
