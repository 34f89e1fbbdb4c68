#include "graph/onnx/input_shapes.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"

namespace ds::onnx_io {
namespace {

absl::Status Apply(const Shape& shape, onnx::TypeProto::Tensor& type) {
  if (!type.has_shape()) {
    for (size_t i = 0; i < shape.size(); ++i) type.mutable_shape()->add_dim();
  }
  onnx::TensorShapeProto& given = *type.mutable_shape();
  if (static_cast<size_t>(given.dim_size()) != shape.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the shape ", ShapeString(shape), " does not fit its ", given.dim_size(), " axes"));
  }
  for (int i = 0; i < given.dim_size(); ++i) {
    auto& dim = *given.mutable_dim(i);
    const int64_t extent = shape[static_cast<size_t>(i)];
    if (extent == kDynamicDim) continue;
    if (dim.has_dim_value() && dim.dim_value() >= 0 && dim.dim_value() != extent) {
      return absl::InvalidArgumentError(absl::StrCat(
          "axis ", i, " has ", dim.dim_value(), " elements in the file and cannot have ", extent));
    }
    dim.set_dim_value(extent);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ApplyInputShapes(const std::map<std::string, Shape>& shapes, onnx::ModelProto& model) {
  onnx::GraphProto& graph = *model.mutable_graph();
  for (const auto& [name, shape] : shapes) {
    onnx::ValueInfoProto* found = nullptr;
    std::vector<std::string> names;
    for (auto& input : *graph.mutable_input()) {
      if (input.name() == name) found = &input;
      names.push_back(Quoted(input.name()));
    }
    if (found == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("it has no input ", Quoted(name),
                                                     " to give a shape; its inputs are ",
                                                     absl::StrJoin(names, ", ")));
    }
    const absl::Status applied = Apply(shape, *found->mutable_type()->mutable_tensor_type());
    if (!applied.ok()) return Annotate(applied, absl::StrCat("graph input ", Quoted(name)));
  }
  return absl::OkStatus();
}

}  // namespace ds::onnx_io
