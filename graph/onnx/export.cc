#include <algorithm>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/status.h"
#include "graph/finite_weights.h"
#include "graph/onnx/node_reader.h"
#include "graph/onnx/onnx.h"
#include "graph/onnx/proto.h"
#include "graph/onnx/rewrite/branches.h"
#include "graph/onnx/rewrite/decompose.h"
#include "graph/onnx/rewrite/dim_names.h"
#include "graph/onnx/rewrite/expand/expand.h"
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

class GraphWriter {
 public:
  // `compact`: without what a reader can do without. All must outlive this.
  GraphWriter(const Graph& graph, const DimNames& names, const BranchPlan& plan, bool compact)
      : graph_(graph),
        names_(names),
        plan_(plan),
        compact_(compact),
        outputs_(graph.outputs().begin(), graph.outputs().end()) {}

  void Write(onnx::GraphProto* proto) {
    proto->set_name(graph_.name.empty() ? "graph" : graph_.name);
    for (const ValueId id : graph_.inputs()) WriteType(graph_, id, names_, proto->add_input());
    for (const ValueId id : graph_.outputs()) WriteType(graph_, id, names_, proto->add_output());
    WriteRegion(0, proto);
  }

 private:
  void WriteRegion(int index, onnx::GraphProto* proto) {
    const Region& region = plan_.regions[index];
    for (const ValueId id : region.initializers) {
      onnx::TensorProto* tensor = proto->add_initializer();
      TensorToProto(*graph_.Constant(id), tensor);
      tensor->set_name(graph_.value(id).name);
    }
    for (const Region::Step& step : region.steps) {
      if (step.node < 0) {
        WriteChoice(plan_.choices[step.choice], proto);
        continue;
      }
      const Node& node = graph_.nodes()[step.node];
      WriteNode(graph_, node, !compact_, proto->add_node());
      WriteTypes(node.outputs, region.results, proto);
    }
  }

  void WriteTypes(const std::vector<ValueId>& values, const std::vector<ValueId>& results,
                  onnx::GraphProto* proto) {
    if (compact_) return;
    for (const ValueId id : values) {
      const bool is_result = std::find(results.begin(), results.end(), id) != results.end();
      if (id == kNoValue || outputs_.contains(id) || is_result) continue;
      WriteType(graph_, id, names_, proto->add_value_info());
    }
  }

  void WriteChoice(const Choice& choice, onnx::GraphProto* proto) {
    onnx::NodeProto* node = proto->add_node();
    node->set_op_type("If");
    if (!compact_) node->set_name(absl::StrCat("If_", graph_.value(choice.outputs[0]).name));
    node->add_input(graph_.value(choice.condition).name);
    for (const ValueId id : choice.outputs) node->add_output(graph_.value(id).name);
    WriteBranch("then_branch", choice, choice.yes, node->add_attribute());
    WriteBranch("else_branch", choice, choice.no, node->add_attribute());
    WriteTypes(choice.outputs, {}, proto);
  }

  void WriteBranch(const std::string& name, const Choice& choice, int index,
                   onnx::AttributeProto* attribute) {
    attribute->set_name(name);
    attribute->set_type(onnx::AttributeProto::GRAPH);
    onnx::GraphProto* proto = attribute->mutable_g();
    proto->set_name(absl::StrCat(name, "_", graph_.value(choice.outputs[0]).name));
    WriteRegion(index, proto);
    absl::flat_hash_set<std::string> made;
    for (const onnx::NodeProto& node : proto->node()) {
      made.insert(node.output().begin(), node.output().end());
    }
    const Region& region = plan_.regions[index];
    for (size_t i = 0; i < region.results.size(); ++i) {
      onnx::ValueInfoProto* output = proto->add_output();
      WriteType(graph_, region.results[i], names_, output);
      // What a branch answers is made in it, and once.
      if (made.erase(output->name()) > 0) continue;
      onnx::NodeProto* same = proto->add_node();
      same->set_op_type("Identity");
      same->add_input(output->name());
      std::string own = absl::StrCat(graph_.value(choice.outputs[i]).name, "_", name);
      while (graph_.FindValue(own) != kNoValue) own += '_';
      output->set_name(own);
      same->add_output(output->name());
    }
  }

  const Graph& graph_;
  const DimNames& names_;
  const BranchPlan& plan_;
  const bool compact_;
  const absl::flat_hash_set<ValueId> outputs_;
};

// Without choices.
BranchPlan OneRegion(const Graph& graph) {
  BranchPlan plan;
  Region& region = plan.regions.emplace_back();
  for (int i = 0; i < static_cast<int>(graph.nodes().size()); ++i) {
    region.steps.push_back({.node = i});
  }
  for (const auto& [id, initializer] : graph.initializers()) region.initializers.push_back(id);
  return plan;
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
  onnx_io::DimNames names = onnx_io::NameDynamicDims(*lowered);
  onnx_io::UseNewForms(*lowered, least);
  const onnx_io::BranchPlan plan =
      options.branches ? onnx_io::PlanBranches(*lowered, names) : onnx_io::OneRegion(*lowered);
  if (options.compact) onnx_io::Shorten(*lowered);
  onnx_io::GraphWriter(*lowered, names, plan, options.compact).Write(model.mutable_graph());
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
