// Older and newer forms of what resizes, pads and samples images.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/onnx/rewrite/emitter.h"
#include "graph/onnx/rewrite/node_attributes.h"
#include "graph/onnx/rewrite/normalize.h"

namespace ds::onnx_io {

absl::Status Normalizer::RewritePad(Node& node) {
  Emitter emit(graph_, node);
  if (!HasInput(node, 3)) return absl::OkStatus();
  // What is known only when the graph runs stays as it is.
  if (graph_.Constant(node.inputs[3]) == nullptr || graph_.Constant(node.inputs[1]) == nullptr) {
    return absl::OkStatus();
  }
  DS_ASSIGN_OR_RETURN(const std::vector<int64_t> axes, ConstantInts(node, 3));
  DS_ASSIGN_OR_RETURN(const std::vector<int64_t> pads, ConstantInts(node, 1));
  DS_ASSIGN_OR_RETURN(const Shape shape, emit.ShapeOf(node.inputs[0]));
  if (pads.size() != 2 * axes.size()) {
    return absl::InvalidArgumentError(absl::StrCat("it has ", pads.size(), " pads for ",
                                                   axes.size(), " axes; each axis needs two"));
  }
  const auto rank = static_cast<int64_t>(shape.size());
  std::vector<int64_t> full(shape.size() * 2, 0);
  for (size_t i = 0; i < axes.size(); ++i) {
    DS_ASSIGN_OR_RETURN(const int64_t axis, InRange(axes[i], rank));
    full[axis] = pads[i];
    full[axis + rank] = pads[axes.size() + i];
  }
  node.inputs[1] = emit.Constant("pads", Tensor::From<int64_t>({rank * 2}, full));
  node.inputs.resize(3);
  return absl::OkStatus();
}

absl::Status Normalizer::RewriteResize(Node& node) {
  Emitter emit(graph_, node);
  DS_ASSIGN_OR_RETURN(const int64_t antialias, Get<int64_t>(node, "antialias", 0));
  DS_ASSIGN_OR_RETURN(const std::string policy,
                      Get<std::string>(node, "keep_aspect_ratio_policy", "stretch"));
  DS_ASSIGN_OR_RETURN(const std::string coordinates,
                      Get<std::string>(node, "coordinate_transformation_mode", "half_pixel"));
  if (antialias == 0) node.attributes.erase("antialias");
  if (policy == "stretch") node.attributes.erase("keep_aspect_ratio_policy");
  // Before opset 13 roi and scales were required: an empty tensor said "none".
  for (size_t slot = 1; slot < node.inputs.size(); ++slot) {
    if (!HasInput(node, slot)) continue;
    const Tensor* constant = graph_.Constant(node.inputs[slot]);
    if (constant != nullptr && constant->num_elements() == 0) node.inputs[slot] = kNoValue;
  }
  DS_ASSIGN_OR_RETURN(const auto axes, Get<std::vector<int64_t>>(node, "axes", {}));
  if (axes.empty()) node.attributes.erase("axes");
  // A policy and a region are about these axes alone.
  if (axes.empty() || policy != "stretch" || coordinates == "tf_crop_and_resize") {
    return absl::OkStatus();
  }
  DS_ASSIGN_OR_RETURN(const Shape shape,
                      emit.ShapeOf(HasInput(node, 0) ? node.inputs[0] : kNoValue));
  const auto rank = static_cast<int64_t>(shape.size());
  const size_t slot = HasInput(node, 3) ? 3 : 2;
  const Tensor* given = HasInput(node, slot) ? graph_.Constant(node.inputs[slot]) : nullptr;
  const DType wanted = slot == 3 ? DType::kInt64 : DType::kFloat32;
  if (given == nullptr) return absl::OkStatus();  // known when it runs
  if (given->dtype() != wanted || given->num_elements() != static_cast<int64_t>(axes.size())) {
    return absl::InvalidArgumentError(
        "with \"axes\", its scales (float) or sizes (int64) must have a value an axis");
  }
  std::vector<float> scales(shape.size(), 1.0F);
  std::vector<int64_t> sizes = shape;
  for (size_t i = 0; i < axes.size(); ++i) {
    DS_ASSIGN_OR_RETURN(const int64_t axis, InRange(axes[i], rank));
    if (slot == 3) {
      sizes[axis] = given->span<int64_t>()[i];
    } else {
      scales[axis] = given->span<float>()[i];
    }
  }
  if (slot == 3 && std::count(sizes.begin(), sizes.end(), kDynamicDim) > 0) {
    return absl::OkStatus();  // an unknown batch has no size to give
  }
  node.attributes.erase("axes");
  node.inputs[slot] = slot == 3 ? emit.Constant("sizes", Tensor::From<int64_t>({rank}, sizes))
                                : emit.Constant("scales", Tensor::From<float>({rank}, scales));
  return absl::OkStatus();
}

// Opsets 7 and 9: Resize of the modes nearest and linear, which counts from corners of elements.
absl::Status Normalizer::RewriteUpsample(Node& node) {
  Emitter emit(graph_, node);
  DS_ASSIGN_OR_RETURN(const std::string mode, Get<std::string>(node, "mode", "nearest"));
  DS_ASSIGN_OR_RETURN(const auto scales, Get<std::vector<float>>(node, "scales", {}));
  if (node.inputs.empty() || node.inputs.size() > 2) {
    return absl::InvalidArgumentError("it must have one input, or two with its scales");
  }
  ValueId given = node.inputs.size() == 2 ? node.inputs[1] : kNoValue;
  if (given == kNoValue) {
    const Shape shape = {static_cast<int64_t>(scales.size())};
    given = emit.Constant("scales", Tensor::From<float>(shape, scales));
  }
  node.op = "Resize";
  node.inputs = {node.inputs[0], kNoValue, given};
  node.attributes = {{"coordinate_transformation_mode", std::string("asymmetric")},
                     {"mode", mode == "bilinear" ? "linear" : mode},
                     {"nearest_mode", std::string("floor")}};
  return absl::OkStatus();
}

// Before opset 20 the modes had the names that they have for images.
absl::Status Normalizer::RewriteGridSample(Node& node) {
  const auto mode = Get<std::string>(node, "mode", "linear");
  if (!mode.ok()) return mode.status();
  if (*mode == "bilinear") node.attributes["mode"] = std::string("linear");
  if (*mode == "bicubic") node.attributes["mode"] = std::string("cubic");
  return absl::OkStatus();
}

}  // namespace ds::onnx_io
