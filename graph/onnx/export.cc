#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/status.h"
#include "graph/finite_weights.h"
#include "graph/onnx/node_reader.h"
#include "graph/onnx/onnx.h"
#include "graph/onnx/proto.h"
#include "graph/onnx/rewrite/decompose.h"
#include "graph/onnx/rewrite/dim_names.h"
#include "graph/onnx/rewrite/expand.h"
#include "graph/onnx/rewrite/opset.h"
#include "graph/onnx/rewrite/shorten.h"
#include "graph/onnx/tensor_proto.h"
#include "graph/schema/schema.h"

namespace ds {
namespace onnx_io {
namespace {

// A protobuf message has at most 2^31 - 1 bytes; the rest is left for names and shapes.
constexpr int64_t kMaxWeightBytes = (int64_t{1} << 31) - (int64_t{1} << 26);

// The oldest IR that knows the opset: readers of that time can read the file.
int IrVersion(int opset) {
  if (opset <= 14) return 7;
  if (opset <= 18) return 8;
  if (opset <= 20) return 9;
  if (opset <= 22) return 10;
  if (opset <= 25) return opset - 12;
  return opset <= 27 ? 13 : 14;
}

absl::Status CheckWeightBytes(const Graph& graph) {
  int64_t bytes = 0;
  for (const auto& [id, initializer] : graph.initializers()) bytes += initializer.data.size_bytes();
  if (bytes <= kMaxWeightBytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the weights have ", bytes,
                   " bytes, but an ONNX file holds at most 2 GiB; write safetensors"));
}

// The graph in the operators of the least opset from `opset` on that holds it; `opset` becomes that
// one.
absl::StatusOr<Graph> Lower(const Graph& graph, int& opset) {
  while (true) {
    DS_ASSIGN_OR_RETURN(Graph lowered, DecomposeForOpset(graph, opset));
    DS_RETURN_IF_ERROR(InferShapes(lowered));
    DS_ASSIGN_OR_RETURN(const int needed, LeastOpset(lowered, opset));
    if (needed == opset) return lowered;
    opset = needed;
  }
}

void WriteType(const Graph& graph, ValueId id, const DimNames& names, onnx::ValueInfoProto* info) {
  const Value& value = graph.value(id);
  info->set_name(value.name);
  onnx::TypeProto::Tensor* type = info->mutable_type()->mutable_tensor_type();
  type->set_elem_type(static_cast<int32_t>(OnnxTypeNumber(value.dtype)));
  if (!value.shape.has_value()) return;
  onnx::TensorShapeProto* shape = type->mutable_shape();
  for (size_t axis = 0; axis < value.shape->size(); ++axis) {
    const int64_t extent = (*value.shape)[axis];
    if (extent == kDynamicDim) {
      shape->add_dim()->set_dim_param(names.at({id, static_cast<int>(axis)}));
    } else {
      shape->add_dim()->set_dim_value(extent);
    }
  }
}

void WriteNode(const Graph& graph, const Node& node, bool named, onnx::NodeProto* proto) {
  if (named) proto->set_name(node.name);
  proto->set_op_type(node.op);
  if (IsContrib(node.op)) proto->set_domain(kContribDomain);
  for (const ValueId id : node.inputs) proto->add_input(id == kNoValue ? "" : graph.value(id).name);
  for (const ValueId id : node.outputs)
    proto->add_output(id == kNoValue ? "" : graph.value(id).name);
  for (const auto& [name, value] : node.attributes)
    AttributeToProto(name, value, proto->add_attribute());
}

// `compact`: without what a reader can do without.
void WriteGraph(const Graph& graph, const DimNames& names, bool compact, onnx::GraphProto* proto) {
  proto->set_name(graph.name.empty() ? "graph" : graph.name);
  for (const ValueId id : graph.inputs()) WriteType(graph, id, names, proto->add_input());
  for (const ValueId id : graph.outputs()) WriteType(graph, id, names, proto->add_output());
  for (const auto& [id, initializer] : graph.initializers()) {
    onnx::TensorProto* tensor = proto->add_initializer();
    TensorToProto(initializer.data, tensor);
    tensor->set_name(graph.value(id).name);
  }
  for (const Node& node : graph.nodes()) {
    WriteNode(graph, node, !compact, proto->add_node());
    if (compact) continue;
    for (const ValueId id : node.outputs) {
      const bool is_output =
          std::find(graph.outputs().begin(), graph.outputs().end(), id) != graph.outputs().end();
      if (id != kNoValue && !is_output) WriteType(graph, id, names, proto->add_value_info());
    }
  }
}

}  // namespace
}  // namespace onnx_io

absl::StatusOr<std::string> ExportOnnxToBytes(const Graph& graph, const OnnxExportOptions& options,
                                              int* written_opset) {
  int least = options.opset;
  absl::StatusOr<Graph> lowered = onnx_io::Lower(graph, least);
  absl::Status status = lowered.status();
  if (status.ok()) status = onnx_io::CheckWeightBytes(*lowered);
  if (status.ok()) status = CheckFiniteWeights(*lowered);
  if (!status.ok()) return Annotate(status, "ONNX export");
  onnx::ModelProto model;
  model.set_ir_version(onnx_io::IrVersion(least));
  model.set_producer_name(options.producer_name);
  onnx::OperatorSetIdProto* opset = model.add_opset_import();
  opset->set_domain("");
  opset->set_version(least);
  if (std::any_of(lowered->nodes().begin(), lowered->nodes().end(),
                  [](const Node& node) { return onnx_io::IsContrib(node.op); })) {
    onnx::OperatorSetIdProto* contrib = model.add_opset_import();
    contrib->set_domain(onnx_io::kContribDomain);
    contrib->set_version(1);
  }
  for (const auto& [key, value] : graph.metadata) {
    onnx::StringStringEntryProto* entry = model.add_metadata_props();
    entry->set_key(key);
    entry->set_value(value);
  }
  const onnx_io::DimNames names = onnx_io::NameDynamicDims(*lowered);
  onnx_io::UseNewForms(*lowered, least);
  if (options.compact) onnx_io::Shorten(*lowered);
  onnx_io::WriteGraph(*lowered, names, options.compact, model.mutable_graph());
  std::string bytes;
  if (!model.SerializeToString(&bytes)) {
    return absl::InternalError("ONNX export: the model could not be written as a protobuf message");
  }
  if (written_opset != nullptr) *written_opset = least;
  return bytes;
}

absl::Status ExportOnnx(const Graph& graph, const std::string& path,
                        const OnnxExportOptions& options) {
  DS_ASSIGN_OR_RETURN(const std::string bytes, ExportOnnxToBytes(graph, options));
  return WriteFileAtomically(path, bytes);
}

}  // namespace ds
