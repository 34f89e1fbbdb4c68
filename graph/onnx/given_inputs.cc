#include "graph/onnx/given_inputs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "graph/onnx/names.h"
#include "graph/onnx/tensor_proto.h"

namespace ds::onnx_io {
namespace {

// More values than anyone writes by hand.
constexpr int64_t kMaxGivenElements = 1 << 16;

absl::StatusOr<int> FindInput(const onnx::GraphProto& graph, const std::string& name,
                              absl::string_view what) {
  std::vector<std::string> names;
  for (int i = 0; i < graph.input_size(); ++i) {
    if (graph.input(i).name() == name) return i;
    names.push_back(Quoted(graph.input(i).name()));
  }
  return absl::InvalidArgumentError(absl::StrCat("it has no input ", Quoted(name), " to give a ",
                                                 what, "; its inputs are ",
                                                 absl::StrJoin(names, ", ")));
}

absl::Status ApplyShape(const Shape& shape, onnx::TypeProto::Tensor& type) {
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

// The input's own shape, which must be known: what has no shape is taken for a scalar.
absl::StatusOr<Shape> ShapeOfValues(const onnx::TypeProto::Tensor& type) {
  Shape shape;
  int64_t count = 1;
  for (const auto& dim : type.shape().dim()) {
    const int64_t extent = dim.has_dim_value() ? dim.dim_value() : -1;
    if (extent < 0) {
      return absl::InvalidArgumentError(
          "an extent of it is open, so that its values cannot be counted; fix it, too "
          "(ds_export --input-shape NAME=1x2)");
    }
    if (__builtin_mul_overflow(count, extent, &count) || count > kMaxGivenElements) {
      return absl::InvalidArgumentError("it has too many elements to be given by hand");
    }
    shape.push_back(extent);
  }
  return shape;
}

template <typename T>
absl::StatusOr<Tensor> TensorOf(const Shape& shape, const std::vector<double>& values) {
  std::vector<T> elements;
  for (const double value : values) {
    if constexpr (std::numeric_limits<T>::is_integer) {
      // The largest integer may be no double: the first one beyond it always is.
      const double end = std::ldexp(1.0, std::numeric_limits<T>::digits);
      const double low = static_cast<double>(std::numeric_limits<T>::min());
      if (!(value >= low && value < end) || value != std::floor(value)) {
        return absl::InvalidArgumentError(
            absl::StrCat("its type does not hold the value ", value, "; give another"));
      }
    }
    elements.push_back(static_cast<T>(value));
  }
  return Tensor::From<T>(shape, elements);
}

absl::StatusOr<Tensor> TensorOf(DType dtype, const Shape& shape,
                                const std::vector<double>& values) {
  switch (dtype) {
    case DType::kFloat32:
      return TensorOf<float>(shape, values);
    case DType::kFloat64:
      return TensorOf<double>(shape, values);
    case DType::kInt32:
      return TensorOf<int32_t>(shape, values);
    case DType::kInt64:
      return TensorOf<int64_t>(shape, values);
    case DType::kUInt8:
      return TensorOf<uint8_t>(shape, values);
    case DType::kInt8:
      return TensorOf<int8_t>(shape, values);
    case DType::kBool:
      return TensorOf<bool>(shape, values);
    default:
      return absl::UnimplementedError(
          "values can be given to inputs of type float32, float64, int32, int64, int8, uint8 and "
          "bool only");
  }
}

absl::StatusOr<Tensor> ValueOf(const onnx::ValueInfoProto& input,
                               const std::vector<double>& values) {
  if (!input.type().has_tensor_type()) {
    return absl::UnimplementedError("it is not a tensor; only tensors are supported");
  }
  const onnx::TypeProto::Tensor& type = input.type().tensor_type();
  DS_ASSIGN_OR_RETURN(const DType dtype, DTypeFromOnnx(type.elem_type()));
  DS_ASSIGN_OR_RETURN(const Shape shape, ShapeOfValues(type));
  DS_ASSIGN_OR_RETURN(const int64_t elements, NumElements(shape));
  const auto count = static_cast<size_t>(elements);
  if (values.size() != 1 && values.size() != count) {
    return absl::InvalidArgumentError(absl::StrCat(values.size(), " values do not fit its shape ",
                                                   ShapeString(shape),
                                                   "; give one for all elements, or ", count));
  }
  return TensorOf(dtype, shape,
                  values.size() == count ? values : std::vector<double>(count, values[0]));
}

absl::Status ApplyValue(int index, const std::vector<double>& values, onnx::GraphProto& graph) {
  const onnx::ValueInfoProto& input = graph.input(index);
  for (const auto& tensor : graph.initializer()) {
    if (tensor.name() == input.name())
      return absl::InvalidArgumentError("it is an initialiser, which has its value in the file");
  }
  DS_ASSIGN_OR_RETURN(const Tensor tensor, ValueOf(input, values));
  // A name that is no parameter's (own_names.h), also when our own file is read again.
  const std::string name = input.name();
  const std::string constant = Names(graph).Fresh(absl::StrCat(name, ".constant"));
  for (auto& node : *graph.mutable_node()) RenameNode({{name, constant}}, node);
  for (const auto& output : graph.output()) {
    if (output.name() != name) continue;
    onnx::NodeProto& copy = *graph.add_node();
    copy.set_op_type("Identity");
    copy.add_input(constant);
    copy.add_output(name);
    break;
  }
  onnx::NodeProto& node = *graph.add_node();
  node.set_op_type("Constant");
  node.set_name(absl::StrCat(name, ".given"));
  node.add_output(constant);
  onnx::AttributeProto& attribute = *node.add_attribute();
  attribute.set_name("value");
  attribute.set_type(onnx::AttributeProto::TENSOR);
  TensorToProto(tensor, attribute.mutable_t());
  // Before the nodes that read it.
  auto& nodes = *graph.mutable_node();
  std::rotate(nodes.pointer_begin(), nodes.pointer_end() - 1, nodes.pointer_end());
  graph.mutable_input()->DeleteSubrange(index, 1);
  return absl::OkStatus();
}

}  // namespace

absl::Status ApplyGivenInputs(const OnnxImportOptions& options, onnx::ModelProto& model) {
  onnx::GraphProto& graph = *model.mutable_graph();
  for (const auto& [name, shape] : options.input_shapes) {
    DS_ASSIGN_OR_RETURN(const int index, FindInput(graph, name, "shape"));
    const absl::Status applied =
        ApplyShape(shape, *graph.mutable_input(index)->mutable_type()->mutable_tensor_type());
    if (!applied.ok()) return Annotate(applied, absl::StrCat("graph input ", Quoted(name)));
  }
  for (const auto& [name, values] : options.input_values) {
    DS_ASSIGN_OR_RETURN(const int index, FindInput(graph, name, "value"));
    const absl::Status applied = ApplyValue(index, values, graph);
    if (!applied.ok()) return Annotate(applied, absl::StrCat("graph input ", Quoted(name)));
  }
  return absl::OkStatus();
}

}  // namespace ds::onnx_io
