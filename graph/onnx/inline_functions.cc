#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/onnx/inline.h"
#include "graph/onnx/names.h"

namespace ds::onnx_io {
namespace {

// A small file may call its way to any size.
constexpr int kMaxNodes = 1 << 18;
constexpr int kMaxDepth = 64;

using NodeList = google::protobuf::RepeatedPtrField<onnx::NodeProto>;

std::string KeyOf(const std::string& domain, const std::string& name) {
  return absl::StrCat(domain == "ai.onnx" ? "" : domain, "::", name);
}

int64_t OnnxOpset(const google::protobuf::RepeatedPtrField<onnx::OperatorSetIdProto>& imports) {
  for (const auto& import : imports) {
    if (import.domain().empty() || import.domain() == "ai.onnx") return import.version();
  }
  return -1;
}

// The message has defaults from ONNX 1.13 on; an older onnx-ml.proto may be what we are built with.
template <typename Function>
const onnx::AttributeProto* DefaultOf(const Function& function, const std::string& name) {
  if constexpr (requires { function.attribute_proto(); }) {
    for (const auto& attribute : function.attribute_proto()) {
      if (attribute.name() == name) return &attribute;
    }
  }
  return nullptr;
}

class FunctionInliner {
 public:
  explicit FunctionInliner(onnx::ModelProto& model)
      : model_(model), opset_(OnnxOpset(model.opset_import())), names_(model.graph()) {}

  absl::Status Run() {
    for (const auto& function : model_.functions()) {
      if (!functions_.emplace(KeyOf(function.domain(), function.name()), &function).second) {
        return absl::UnimplementedError(
            absl::StrCat("function ", Quoted(function.name()),
                         " is defined twice; overloads are not supported"));
      }
    }
    DS_RETURN_IF_ERROR(Expand(*model_.mutable_graph()->mutable_node(), 0));
    model_.clear_functions();
    return absl::OkStatus();
  }

 private:
  absl::Status Expand(NodeList& nodes, int depth) {
    NodeList expanded;
    for (onnx::NodeProto& node : nodes) {
      for (auto& attribute : *node.mutable_attribute()) {
        if (attribute.has_g()) {
          DS_RETURN_IF_ERROR(Expand(*attribute.mutable_g()->mutable_node(), depth));
        }
      }
      auto it = functions_.find(KeyOf(node.domain(), node.op_type()));
      if (it == functions_.end()) {
        *expanded.Add() = std::move(node);
      } else {
        const absl::Status inlined = Inline(node, *it->second, depth + 1, expanded);
        if (!inlined.ok() && depth > 0) return inlined;  // one name is enough
        if (!inlined.ok()) {
          return Annotate(inlined, absl::StrCat("the call of function ", Quoted(node.op_type()),
                                                " by node ", Quoted(node.name())));
        }
      }
      if (++count_ > kMaxNodes) {
        return absl::InvalidArgumentError(
            absl::StrCat("its functions unfold to over ", kMaxNodes, " nodes"));
      }
    }
    nodes.Swap(&expanded);
    return absl::OkStatus();
  }

  absl::Status Inline(const onnx::NodeProto& call, const onnx::FunctionProto& function, int depth,
                      NodeList& out) {
    if (depth > kMaxDepth)
      return absl::InvalidArgumentError("it calls itself, or is nested deeply");
    const int64_t opset = OnnxOpset(function.opset_import());
    if (opset != -1 && opset != opset_) {
      return absl::UnimplementedError(absl::StrCat(
          "it is written in opset ", opset, " and the model in ", opset_, "; export both in one"));
    }
    DS_ASSIGN_OR_RETURN(const Renames renames, Operands(call, function));
    NodeList body;
    for (int i = 0; i < function.node_size(); ++i) {
      onnx::NodeProto& node = *body.Add();
      node = function.node(i);
      RenameNode(renames, node);
      BindAttributes(call, function, node);
      node.set_name(
          absl::StrCat(call.name().empty() ? call.op_type() : call.name(), "/",
                       node.name().empty() ? absl::StrCat(node.op_type(), "_", i) : node.name()));
    }
    DS_RETURN_IF_ERROR(Expand(body, depth));
    for (onnx::NodeProto& node : body) *out.Add() = std::move(node);
    return absl::OkStatus();
  }

  // The function's names -> the caller's; what is inner gets fresh ones.
  absl::StatusOr<Renames> Operands(const onnx::NodeProto& call,
                                   const onnx::FunctionProto& function) {
    if (call.input_size() > function.input_size() || call.output_size() > function.output_size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "it has ", call.input_size(), " inputs and ", call.output_size(),
          " outputs; the function has ", function.input_size(), " and ", function.output_size()));
    }
    Renames renames;
    for (int i = 0; i < function.input_size(); ++i) {
      renames[function.input(i)] = i < call.input_size() ? call.input(i) : "";
    }
    for (int i = 0; i < call.output_size(); ++i) {
      if (!call.output(i).empty()) renames[function.output(i)] = call.output(i);
    }
    const std::string prefix = call.name().empty() ? call.op_type() : call.name();
    for (const auto& node : function.node()) {
      for (const std::string& output : node.output()) {
        if (output.empty() || renames.contains(output)) continue;
        renames[output] = names_.Fresh(absl::StrCat(prefix, "/", output));
      }
    }
    return renames;
  }

  static const onnx::AttributeProto* Given(const onnx::NodeProto& call,
                                           const onnx::FunctionProto& function,
                                           const std::string& name) {
    for (const auto& attribute : call.attribute()) {
      if (attribute.name() == name) return &attribute;
    }
    return DefaultOf(function, name);
  }

  // An attribute that the call does not give, and that has no default, is left out.
  static void BindAttributes(const onnx::NodeProto& call, const onnx::FunctionProto& function,
                             onnx::NodeProto& node) {
    google::protobuf::RepeatedPtrField<onnx::AttributeProto> bound;
    for (onnx::AttributeProto& attribute : *node.mutable_attribute()) {
      if (attribute.has_g()) {
        for (auto& inner : *attribute.mutable_g()->mutable_node()) {
          BindAttributes(call, function, inner);
        }
      }
      if (attribute.ref_attr_name().empty()) {
        *bound.Add() = std::move(attribute);
        continue;
      }
      const onnx::AttributeProto* given = Given(call, function, attribute.ref_attr_name());
      if (given == nullptr) continue;
      onnx::AttributeProto& copy = *bound.Add();
      copy = *given;
      copy.set_name(attribute.name());
    }
    node.mutable_attribute()->Swap(&bound);
  }

  onnx::ModelProto& model_;
  const int64_t opset_;
  Names names_;
  absl::flat_hash_map<std::string, const onnx::FunctionProto*> functions_;
  int count_ = 0;
};

}  // namespace

absl::Status InlineFunctions(onnx::ModelProto& model) {
  if (model.functions_size() == 0) return absl::OkStatus();
  return FunctionInliner(model).Run();
}

}  // namespace ds::onnx_io
