#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/status.h"
#include "graph/finite_weights.h"
#include "graph/onnx/external_data.h"
#include "graph/onnx/given_inputs.h"
#include "graph/onnx/inline.h"
#include "graph/onnx/node_reader.h"
#include "graph/onnx/onnx.h"
#include "graph/onnx/proto.h"
#include "graph/onnx/rewrite/compact.h"
#include "graph/onnx/rewrite/expand/expand.h"
#include "graph/onnx/rewrite/normalize.h"
#include "graph/onnx/rewrite/trained/trainable.h"
#include "graph/onnx/stored_weights.h"
#include "graph/onnx/tensor_proto.h"
#include "graph/passes/passes.h"
#include "graph/schema/nearest_ops.h"
#include "graph/schema/schema.h"

namespace ds {
namespace onnx_io {
namespace {

bool IsOnnxDomain(const std::string& domain) { return domain.empty() || domain == "ai.onnx"; }

// The model's ai.onnx opset, after its versions are found to be ones we know.
absl::StatusOr<int> CheckVersions(const onnx::ModelProto& model) {
  if (!model.has_ir_version() || !model.has_graph()) {
    return absl::InvalidArgumentError(
        "not an ONNX model: it has no IR version or no graph; is this the right file?");
  }
  if (model.ir_version() < 3 || model.ir_version() > kNewestIrVersion) {
    return absl::UnimplementedError(
        absl::StrCat("IR version ", model.ir_version(), " is not supported; supported are 3 to ",
                     kNewestIrVersion, ": export the model with another version of ONNX"));
  }
  int64_t opset = -1;
  for (const auto& import : model.opset_import()) {
    if (!IsOnnxDomain(import.domain())) continue;  // refused where a node uses it
    if (opset != -1)
      return absl::InvalidArgumentError("it imports the ai.onnx opset twice; remove one");
    opset = import.version();
  }
  if (opset == -1)
    return absl::InvalidArgumentError("it imports no ai.onnx opset; the file is damaged");
  if (opset < kOldestOpset || opset > kNewestOpset) {
    return absl::UnimplementedError(
        absl::StrCat("opset ", opset, " is not supported; supported are ", kOldestOpset, " to ",
                     kNewestOpset, ": export the model again with opset_version=17"));
  }
  return static_cast<int>(opset);
}

absl::Status CheckOp(const onnx::NodeProto& node) {
  if (node.domain() == kContribDomain &&
      Normalizer::IsRewritten(absl::StrCat(kContribPrefix, node.op_type()))) {
    return absl::OkStatus();
  }
  if (!IsOnnxDomain(node.domain())) {
    return absl::UnimplementedError(
        absl::StrCat("this operator of domain ", Quoted(node.domain()),
                     " is not supported, only ai.onnx's and some fused ones of com.microsoft; "
                     "export it as ONNX operators"));
  }
  const bool ours = FindSchema(node.op_type()) != nullptr && !IsContrib(node.op_type());
  if (ours || Normalizer::IsRewritten(node.op_type())) {
    return absl::OkStatus();
  }
  return absl::UnimplementedError(
      absl::StrCat("this op is not supported", NearestOps(node.op_type()),
                   "; export the model with another opset_version, or write that layer with other "
                   "operators (docs/onnx.md)"));
}

absl::StatusOr<Shape> InputShape(const onnx::TypeProto::Tensor& type) {
  if (!type.has_shape()) {
    return absl::InvalidArgumentError(
        "it has no shape; export with shapes, unknown extents named (dynamic axes)");
  }
  Shape shape;
  for (const auto& dim : type.shape().dim()) {
    // Paddle's exporter writes -1 for an extent that is not known.
    const bool known = dim.has_dim_value() && dim.dim_value() != -1;
    if (known && dim.dim_value() < 0) {
      return absl::InvalidArgumentError(absl::StrCat("its extent ", dim.dim_value(),
                                                     " is negative; name unknown extents instead"));
    }
    shape.push_back(known ? static_cast<int64_t>(dim.dim_value()) : kDynamicDim);
  }
  return shape;
}

// Builds the graph in the order in which names become known: initialisers, inputs, nodes, outputs.
// Errors say where in the model, not in which file.
class Importer {
 public:
  // `weights`: of initialisers, what is not in the message (stored_weights.h).
  Importer(ExternalData& external, std::vector<absl::string_view> weights,
           const OnnxImportOptions& options)
      : external_(external), weights_(std::move(weights)), options_(options) {}

  absl::StatusOr<Graph> Run(onnx::ModelProto& model) {
    DS_ASSIGN_OR_RETURN(const int opset, CheckVersions(model));
    DS_RETURN_IF_ERROR(InlineFunctions(model));
    DS_RETURN_IF_ERROR(InlineBranches(
        model,
        [this](const auto& part, const auto& names) { return ProbeValues(external_, part, names); },
        options_.notes));
    onnx::GraphProto& proto = *model.mutable_graph();
    graph_.name = proto.name();
    for (const auto& entry : model.metadata_props()) graph_.metadata[entry.key()] = entry.value();
    DS_RETURN_IF_ERROR(ReadInitializers(proto));
    DS_RETURN_IF_ERROR(ReadInputs(proto));
    DS_RETURN_IF_ERROR(DeclareOutputs(proto));
    DS_RETURN_IF_ERROR(ReadNodes(proto));
    DS_RETURN_IF_ERROR(ReadOutputs(proto));
    DS_RETURN_IF_ERROR(graph_.SortTopologically());
    DS_RETURN_IF_ERROR(Normalize(opset));
    for (const auto& [copy, original] : SeparateEqualTensors(graph_)) {
      if (unnamed_.contains(original)) unnamed_.insert(copy);
    }
    // What trains is known before constants are folded, so that no weight is taken for one.
    DS_RETURN_IF_ERROR(
        MarkTrainable(graph_, {.unnamed = std::move(unnamed_),
                               .all_finite = [this](ValueId id) { return IsFinite(id); }}));
    DS_RETURN_IF_ERROR(Simplify(graph_));
    DS_RETURN_IF_ERROR(FoldLayouts(graph_, options_.read_weights));
    DS_RETURN_IF_ERROR(InferShapes(graph_));
    return Compact(graph_);
  }

 private:
  // What importing `part` tells of the values `names` (InlineBranches).
  static absl::StatusOr<std::vector<ProbedValue>> ProbeValues(
      ExternalData& external, const onnx::ModelProto& part, const std::vector<std::string>& names) {
    onnx::ModelProto model = part;
    absl::flat_hash_map<std::string, size_t> places;
    for (const std::string& name : names) {
      if (!places.emplace(name, places.size()).second) continue;
      model.mutable_graph()->add_output()->set_name(name);
    }
    ExternalData reading = external.Reading();  // shapes that are stored elsewhere, too
    DS_ASSIGN_OR_RETURN(const Graph graph, Importer(reading, {}, {}).Run(model));
    std::vector<ProbedValue> values;
    for (const std::string& name : names) {
      const ValueId id = graph.outputs()[places.at(name)];
      const Tensor* constant = graph.Constant(id);
      std::optional<bool> truth;
      if (constant != nullptr && constant->dtype() == DType::kBool &&
          constant->num_elements() == 1) {
        truth = constant->bytes()[0] != std::byte{0};
      }
      values.push_back({*graph.value(id).shape, truth});
    }
    return values;
  }

  absl::Status Declare(const std::string& name, ValueId id, absl::string_view what) {
    if (name.empty()) return absl::InvalidArgumentError(absl::StrCat(what, " has no name"));
    if (!ids_.emplace(name, id).second) {
      return absl::InvalidArgumentError(absl::StrCat(
          what, " ", Quoted(name), " is defined twice; each name may be written once"));
    }
    return absl::OkStatus();
  }

  absl::Status ReadInitializers(onnx::GraphProto& proto) {
    if (proto.sparse_initializer_size() > 0) {
      return absl::UnimplementedError("sparse initialisers are not supported; export them dense");
    }
    for (int i = 0; i < proto.initializer_size(); ++i) {
      onnx::TensorProto& tensor = *proto.mutable_initializer(i);
      const absl::string_view raw = static_cast<size_t>(i) < weights_.size()
                                        ? weights_[static_cast<size_t>(i)]
                                        : absl::string_view();
      absl::StatusOr<Tensor> data = raw.empty()
                                        ? TensorFromProto(tensor, external_)
                                        : TensorFromProto(tensor, raw, options_.read_weights);
      if (!data.ok()) {
        return Annotate(data.status(), absl::StrCat("initialiser ", Quoted(tensor.name())));
      }
      // Large models: do not hold everything twice.
      if (options_.read_weights) tensor.clear_raw_data();
      const ValueId id = graph_.AddInitializer(tensor.name(), *std::move(data), false);
      if (!options_.read_weights) stored_[id] = {&tensor, raw};
      DS_RETURN_IF_ERROR(Declare(tensor.name(), id, "initialiser"));
    }
    return absl::OkStatus();
  }

  // Reads what was not read for this alone.
  bool IsFinite(ValueId id) {
    const auto stored = stored_.find(id);
    if (stored == stored_.end()) return AllFinite(*graph_.Constant(id));
    const auto& [tensor, raw] = stored->second;
    ExternalData external = external_.Reading();
    const absl::StatusOr<Tensor> data = raw.empty() ? TensorFromProto(*tensor, external)
                                                    : TensorFromProto(*tensor, raw, /*read=*/true);
    return data.ok() && AllFinite(*data);
  }

  absl::Status ReadInputs(const onnx::GraphProto& proto) {
    absl::flat_hash_set<std::string> seen;
    for (const auto& input : proto.input()) {
      const std::string where = absl::StrCat("graph input ", Quoted(input.name()));
      if (!seen.insert(input.name()).second) {
        return absl::InvalidArgumentError(absl::StrCat(where, " is defined twice; remove one"));
      }
      // Old exporters list initialisers among the inputs.
      if (ids_.contains(input.name())) continue;
      if (!input.type().has_tensor_type()) {
        return absl::UnimplementedError(
            absl::StrCat(where, " is not a tensor; only tensors are supported"));
      }
      absl::StatusOr<DType> dtype = DTypeFromOnnx(input.type().tensor_type().elem_type());
      if (!dtype.ok()) return Annotate(dtype.status(), where);
      absl::StatusOr<Shape> shape = InputShape(input.type().tensor_type());
      if (!shape.ok()) return Annotate(shape.status(), where);
      const ValueId id = graph_.AddInput(input.name(), *dtype, *std::move(shape));
      DS_RETURN_IF_ERROR(Declare(input.name(), id, "graph input"));
    }
    return absl::OkStatus();
  }

  // All of them before the first node is read, so that names made up later cannot take theirs.
  absl::Status DeclareOutputs(const onnx::GraphProto& proto) {
    for (const auto& node : proto.node()) {
      for (const std::string& output : node.output()) {
        if (output.empty()) continue;
        DS_RETURN_IF_ERROR(Declare(output, graph_.AddValue(output), "value"));
      }
    }
    return absl::OkStatus();
  }

  std::string NodeName(const onnx::NodeProto& proto, int index) {
    std::string name =
        proto.name().empty() ? absl::StrCat(proto.op_type(), "_", index) : proto.name();
    while (!node_names_.insert(name).second) absl::StrAppend(&name, "_", index);
    return name;
  }

  absl::Status ReadNodes(const onnx::GraphProto& proto) {
    for (int i = 0; i < proto.node_size(); ++i) {
      const absl::Status read = ReadNode(proto.node(i), i);
      if (!read.ok()) {
        const std::string name = proto.node(i).name();
        return Annotate(
            read, absl::StrCat("node ", name.empty() ? absl::StrCat("#", i) : Quoted(name), " (",
                               Quoted(proto.node(i).op_type()), ")"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadNode(const onnx::NodeProto& proto, int index) {
    DS_RETURN_IF_ERROR(CheckOp(proto));
    Node node;
    node.name = NodeName(proto, index);
    node.op = absl::StrCat(proto.domain() == kContribDomain ? kContribPrefix : "", proto.op_type());
    DS_ASSIGN_OR_RETURN(node.attributes, AttributesFromProto(proto, external_));
    for (const std::string& input : proto.input()) {
      auto it = ids_.find(input);
      if (!input.empty() && it == ids_.end()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "its input ", Quoted(input), " is no graph input, initialiser or output of a node"));
      }
      node.inputs.push_back(input.empty() ? kNoValue : it->second);
      if (!input.empty()) used_.insert(it->second);
    }
    for (const std::string& output : proto.output()) {
      node.outputs.push_back(output.empty() ? kNoValue : ids_.at(output));
    }
    while (!node.outputs.empty() && node.outputs.back() == kNoValue) node.outputs.pop_back();
    if (node.outputs.empty()) return absl::InvalidArgumentError("it has no output");
    for (ValueId& output : node.outputs) {
      if (output == kNoValue) output = graph_.AddValue(absl::StrCat(node.name, ".unused"));
    }
    if (node.op == "Constant") return AddConstant(node);
    graph_.AddNode(std::move(node));
    return absl::OkStatus();
  }

  absl::Status AddConstant(const Node& node) {
    if (!node.inputs.empty() || node.outputs.size() != 1) {
      return absl::InvalidArgumentError("a Constant has no inputs and one output");
    }
    DS_ASSIGN_OR_RETURN(Tensor tensor, ConstantValue(node.attributes));
    Value& value = graph_.mutable_value(node.outputs[0]);
    value.dtype = tensor.dtype();
    value.shape = tensor.shape();
    graph_.mutable_initializers()[node.outputs[0]] = Initializer{.data = std::move(tensor)};
    unnamed_.insert(node.outputs[0]);
    return absl::OkStatus();
  }

  absl::Status ReadOutputs(const onnx::GraphProto& proto) {
    absl::flat_hash_set<std::string> seen;
    for (const auto& output : proto.output()) {
      auto it = ids_.find(output.name());
      if (it == ids_.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("graph output ", Quoted(output.name()), " is written by no node"));
      }
      if (!seen.insert(output.name()).second) {
        return absl::InvalidArgumentError(
            absl::StrCat("graph output ", Quoted(output.name()), " is listed twice; remove one"));
      }
      used_.insert(it->second);
      graph_.MarkOutput(it->second);
    }
    if (proto.output_size() == 0) {
      return absl::InvalidArgumentError("the graph has no outputs; the file is damaged");
    }
    return absl::OkStatus();
  }

  absl::Status Normalize(int opset) {
    const std::vector<Node> nodes = std::exchange(graph_.mutable_nodes(), {});
    const std::vector<ValueId> outputs = std::exchange(graph_.mutable_outputs(), {});
    const size_t own_values = graph_.values().size();
    Normalizer normalizer(graph_, opset);
    for (const Node& node : nodes) {
      const absl::Status appended = normalizer.Append(node, used_);
      if (!appended.ok()) {
        return Annotate(appended, absl::StrCat("node ", Quoted(node.name), " (", node.op, ")"));
      }
    }
    for (const ValueId id : outputs) {
      if (normalizer.IsSequence(id)) {
        return absl::UnimplementedError(
            absl::StrCat("graph output ", Quoted(graph_.value(id).name),
                         " is not a tensor but a sequence; only tensors are supported"));
      }
    }
    graph_.mutable_outputs() = outputs;
    // What the rewriting made up is no one's parameter.
    for (const auto& [id, initializer] : graph_.initializers()) {
      if (static_cast<size_t>(id) >= own_values) unnamed_.insert(id);
    }
    if (options_.notes != nullptr) {
      for (std::string& note : normalizer.Notes()) options_.notes->push_back(std::move(note));
    }
    return absl::OkStatus();
  }

  ExternalData& external_;
  const std::vector<absl::string_view> weights_;
  const OnnxImportOptions& options_;
  Graph graph_;
  // Where a tensor lies that was not read.
  absl::flat_hash_map<ValueId, std::pair<const onnx::TensorProto*, absl::string_view>> stored_;
  absl::flat_hash_set<ValueId> unnamed_;  // Constant nodes
  absl::flat_hash_map<std::string, ValueId> ids_;
  absl::flat_hash_set<std::string> node_names_;
  absl::flat_hash_set<ValueId> used_;
};

absl::StatusOr<Graph> Import(absl::string_view bytes, absl::string_view origin, std::string folder,
                             const OnnxImportOptions& options) {
  const std::string file(origin.data(), origin.size());
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
    return absl::InvalidArgumentError(absl::StrCat(
        file,
        ": larger than 2 GiB, the most a model file may have; keep its weights as external data"));
  }
  std::optional<SlimModel> slim = LeaveOutWeights(bytes);
  const absl::string_view message = slim.has_value() ? slim->bytes : bytes;
  onnx::ModelProto model;
  if (bytes.empty() || !model.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": not an ONNX model, or a damaged one (", bytes.size(),
                     " bytes that are no protobuf message); export or copy it again"));
  }
  std::vector<absl::string_view> weights;
  if (slim.has_value()) weights = std::move(slim->weights);
  ExternalData external(std::move(folder), options.read_weights);
  const absl::Status given = ApplyGivenInputs(options, model);
  if (!given.ok()) return Annotate(given, file);
  absl::StatusOr<Graph> graph = Importer(external, std::move(weights), options).Run(model);
  if (!graph.ok()) {
    const absl::Status named = Annotate(graph.status(), file);
    return absl::Status(named.code(), Printable(named.message()));
  }
  return graph;
}

}  // namespace
}  // namespace onnx_io

absl::StatusOr<Graph> ImportOnnx(const std::string& path, const OnnxImportOptions& options) {
  const size_t slash = path.rfind('/');
  const std::string folder =
      slash == std::string::npos ? "." : path.substr(0, slash == 0 ? 1 : slash);
  DS_ASSIGN_OR_RETURN(const std::shared_ptr<MappedFile> file, MappedFile::Open(path));
  const absl::Span<const std::byte> bytes = file->bytes();
  return onnx_io::Import({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path, folder,
                         options);
}

absl::StatusOr<Graph> ImportOnnxFromBytes(absl::string_view bytes, absl::string_view origin,
                                          const OnnxImportOptions& options) {
  return onnx_io::Import(bytes, origin, "", options);
}

}  // namespace ds
