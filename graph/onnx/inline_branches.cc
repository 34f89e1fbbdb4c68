#include <algorithm>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/onnx/inline.h"
#include "graph/onnx/names.h"

namespace ds::onnx_io {
namespace {

// Each If costs an inference of what is before it.
constexpr int kMaxBranches = 4096;
constexpr int kMaxDepth = 64;
// Weights larger than this are not read to infer shapes.
constexpr int64_t kMaxProbedElements = 4096;
constexpr char kUndecided[] = "; both branches must be computed, since the condition of If ";

using NodeList = google::protobuf::RepeatedPtrField<onnx::NodeProto>;

bool HasIf(const onnx::GraphProto& graph) {
  return std::any_of(graph.node().begin(), graph.node().end(),
                     [](const onnx::NodeProto& node) { return node.op_type() == "If"; });
}

int64_t ElementCount(const onnx::TensorProto& tensor) {
  int64_t count = 1;
  for (const int64_t extent : tensor.dims()) {
    if (extent < 0 || __builtin_mul_overflow(count, extent, &count)) return 0;
  }
  return count;
}

// The importer may hold a weight's bytes apart from the message.
bool HasData(const onnx::TensorProto& tensor) {
  return tensor.has_raw_data() || tensor.float_data_size() > 0 || tensor.int32_data_size() > 0 ||
         tensor.int64_data_size() > 0 || tensor.double_data_size() > 0 ||
         tensor.uint64_data_size() > 0 || tensor.external_data_size() > 0 ||
         ElementCount(tensor) == 0;
}

// What an If's condition follows from, of the model's inputs.
struct Deciders {
  std::vector<std::string> values, extents;
};

std::string Mend(const Deciders& deciders) {
  std::string text;
  if (!deciders.values.empty()) {
    const std::string& name = deciders.values.front();
    absl::StrAppend(&text, "; it follows from the value of input ", Quoted(name),
                    ": if that is the same at every run, give it (ds_export --input-value ", name,
                    "=NUMBER)");
  }
  if (!deciders.extents.empty()) {
    const std::string& name = deciders.extents.front();
    absl::StrAppend(&text, "; it follows from the extents of input ", Quoted(name),
                    ": fix them (ds_export --input-shape ", name, "=1x512)");
  }
  return text.empty() ? "; export the model without control flow" : text;
}

// Exporters may leave nodes without a name.
std::string NameOf(const onnx::NodeProto& node) {
  return node.name().empty() && node.output_size() > 0 ? absl::StrCat("of ", node.output(0))
                                                       : node.name();
}

// Stands for a weight where only its type and shape matter.
void DescribeAsInput(const onnx::TensorProto& tensor, onnx::ValueInfoProto& input) {
  input.set_name(tensor.name());
  auto* type = input.mutable_type()->mutable_tensor_type();
  type->set_elem_type(tensor.data_type());
  type->mutable_shape();
  for (const int64_t extent : tensor.dims()) {
    type->mutable_shape()->add_dim()->set_dim_value(extent);
  }
}

class BranchInliner {
 public:
  BranchInliner(onnx::ModelProto& model, const Prober& probe)
      : model_(model), graph_(*model.mutable_graph()), probe_(probe), names_(graph_) {}

  // About the Ifs that run both branches; empty where there is none.
  std::string Note() const {
    if (undecided_.empty()) return "";
    const std::string what =
        undecided_.size() == 1
            ? absl::StrCat("node ", Quoted(undecided_[0]), " (If) runs")
            : absl::StrCat(undecided_.size(), " If nodes (first ", Quoted(undecided_[0]), ") run");
    return absl::StrCat(what,
                        " both branches, and a Where chooses: the condition is known only "
                        "at run time",
                        first_mend_);
  }

  absl::Status Run() {
    NodeList nodes;
    nodes.Swap(graph_.mutable_node());
    for (onnx::NodeProto& node : nodes) DS_RETURN_IF_ERROR(Add(std::move(node), 0));
    return absl::OkStatus();
  }

 private:
  absl::Status Add(onnx::NodeProto node, int depth) {
    if (node.op_type() != "If" || !node.domain().empty()) {
      for (const std::string& output : node.output()) producers_[output] = graph_.node_size();
      *graph_.add_node() = std::move(node);
      return absl::OkStatus();
    }
    const absl::Status added = AddIf(node, depth);
    // What an inner node refuses has that node's name.
    if (added.ok() || absl::StartsWith(added.message(), "node ")) return added;
    return Annotate(added, absl::StrCat("node ", Quoted(NameOf(node)), " (If)"));
  }

  absl::Status AddIf(const onnx::NodeProto& node, int depth) {
    if (depth > kMaxDepth || ++count_ > kMaxBranches) {
      return absl::UnimplementedError("there are too many branches, or they are nested too deeply");
    }
    const onnx::GraphProto* yes = Subgraph(node, "then_branch");
    const onnx::GraphProto* no = Subgraph(node, "else_branch");
    if (node.input_size() != 1 || yes == nullptr || no == nullptr ||
        yes->output_size() != node.output_size() || no->output_size() != node.output_size()) {
      return absl::InvalidArgumentError(
          "it must have one input, then_branch and else_branch, and each branch as many outputs "
          "as it has itself");
    }
    DS_ASSIGN_OR_RETURN(const std::vector<ProbedValue> condition, Probe({node.input(0)}));
    if (condition[0].truth.has_value()) {
      const onnx::GraphProto& chosen = *condition[0].truth ? *yes : *no;
      DS_ASSIGN_OR_RETURN(const auto results, AddBranch(chosen, node, depth));
      for (int i = 0; i < node.output_size(); ++i) {
        if (!node.output(i).empty()) AddNode("Identity", {results[i]}, node.output(i), node);
      }
      return absl::OkStatus();
    }
    return AddBoth(*yes, *no, node, depth);
  }

  absl::Status AddBoth(const onnx::GraphProto& yes, const onnx::GraphProto& no,
                       const onnx::NodeProto& node, int depth) {
    const std::string mend = Mend(FindDeciders(node.input(0)));
    if (undecided_.empty()) first_mend_ = mend;
    undecided_.push_back(NameOf(node));
    const absl::Status added = ChooseByWhere(yes, no, node, depth);
    if (added.ok() || added.message().find(kUndecided) != absl::string_view::npos) return added;
    // A branch may be made for inputs that the other one cannot take.
    return absl::Status(added.code(),
                        absl::StrCat(added.message(), kUndecided, Quoted(NameOf(node)),
                                     " is not known before the model runs", mend));
  }

  absl::Status ChooseByWhere(const onnx::GraphProto& yes, const onnx::GraphProto& no,
                             const onnx::NodeProto& node, int depth) {
    DS_ASSIGN_OR_RETURN(const auto then_results, AddBranch(yes, node, depth));
    DS_ASSIGN_OR_RETURN(const auto else_results, AddBranch(no, node, depth, ".else_branch"));
    DS_RETURN_IF_ERROR(CheckEqualShapes(then_results, else_results));
    DS_ASSIGN_OR_RETURN(const auto condition, Probe({node.input(0)}));
    const std::string condition_name = condition[0].shape.empty() ? node.input(0) : ScalarOf(node);
    for (int i = 0; i < node.output_size(); ++i) {
      if (node.output(i).empty()) continue;
      AddNode("Where", {condition_name, then_results[i], else_results[i]}, node.output(i), node);
    }
    return absl::OkStatus();
  }

  // Adds the nodes and initialisers of a branch; returns the names of its outputs. `suffix`: behind
  // names that the model has already.
  absl::StatusOr<std::vector<std::string>> AddBranch(const onnx::GraphProto& branch,
                                                     const onnx::NodeProto& owner, int depth,
                                                     absl::string_view suffix = "") {
    const auto fresh = [&](const std::string& name) {
      return names_.Fresh(names_.IsTaken(name) ? absl::StrCat(name, suffix) : name);
    };
    if (branch.input_size() > 0 || branch.sparse_initializer_size() > 0) {
      return absl::UnimplementedError("a branch has inputs or sparse initialisers");
    }
    Renames renames;
    for (const auto& tensor : branch.initializer()) {
      onnx::TensorProto& copy = *graph_.add_initializer();
      copy = tensor;
      copy.set_name(fresh(tensor.name()));
      renames[tensor.name()] = copy.name();
    }
    for (const auto& node : branch.node()) {
      for (const std::string& output : node.output()) {
        if (!output.empty()) renames[output] = fresh(output);
      }
    }
    for (const auto& node : branch.node()) {
      onnx::NodeProto copy = node;
      RenameNode(renames, copy);
      if (copy.name().empty()) {
        copy.set_name(absl::StrCat(owner.name(), "/", node.op_type(), "_", graph_.node_size()));
      }
      DS_RETURN_IF_ERROR(Add(std::move(copy), depth + 1));
    }
    std::vector<std::string> results;
    for (const auto& output : branch.output()) {
      auto it = renames.find(output.name());
      results.push_back(it == renames.end() ? output.name() : it->second);
    }
    return results;
  }

  absl::Status CheckEqualShapes(const std::vector<std::string>& yes,
                                const std::vector<std::string>& no) {
    std::vector<std::string> all = yes;
    all.insert(all.end(), no.begin(), no.end());
    DS_ASSIGN_OR_RETURN(const std::vector<ProbedValue> values, Probe(all));
    for (size_t i = 0; i < yes.size(); ++i) {
      const Shape& a = values[i].shape;
      const Shape& b = values[yes.size() + i].shape;
      bool equal = a.size() == b.size();
      for (size_t d = 0; equal && d < a.size(); ++d) {
        equal = a[d] == b[d] || a[d] == kDynamicDim || b[d] == kDynamicDim;
      }
      if (equal) continue;
      return absl::UnimplementedError(
          absl::StrCat("its branches give the shapes ", ShapeString(a), " and ", ShapeString(b)));
    }
    return absl::OkStatus();
  }

  // Inputs that the condition follows from: by value, or through Shape and Size alone.
  Deciders FindDeciders(const std::string& condition) const {
    absl::flat_hash_set<std::string> inputs;
    for (const auto& input : graph_.input()) inputs.insert(input.name());
    Deciders found;
    absl::flat_hash_set<std::string> seen;
    std::vector<std::pair<std::string, bool>> open = {{condition, false}};
    while (!open.empty()) {
      const auto [name, shape_only] = std::move(open.back());
      open.pop_back();
      if (!seen.insert(absl::StrCat(name, shape_only ? ":shape" : ":value")).second) continue;
      if (inputs.contains(name)) (shape_only ? found.extents : found.values).push_back(name);
      auto it = producers_.find(name);
      if (it == producers_.end()) continue;
      const onnx::NodeProto& node = graph_.node(it->second);
      const bool of_shape = shape_only || node.op_type() == "Shape" || node.op_type() == "Size";
      for (const std::string& input : node.input()) {
        if (!input.empty()) open.emplace_back(input, of_shape);
      }
    }
    return found;
  }

  // The condition without axes, so that it broadcasts against anything.
  std::string ScalarOf(const onnx::NodeProto& node) {
    onnx::TensorProto& shape = *graph_.add_initializer();
    shape.set_name(names_.Fresh(absl::StrCat(node.name(), ".no_axes")));
    shape.set_data_type(onnx::TensorProto::INT64);
    shape.add_dims(0);
    const std::string name = names_.Fresh(absl::StrCat(node.name(), ".condition"));
    AddNode("Reshape", {node.input(0), shape.name()}, name, node);
    return name;
  }

  void AddNode(const std::string& op, const std::vector<std::string>& inputs,
               const std::string& output, const onnx::NodeProto& owner) {
    producers_[output] = graph_.node_size();
    onnx::NodeProto& node = *graph_.add_node();
    node.set_op_type(op);
    node.set_name(absl::StrCat(owner.name(), "/", op, "/", output));
    for (const std::string& input : inputs) node.add_input(input);
    node.add_output(output);
  }

  // Asks the importer about values, in a model of no more than they depend on.
  absl::StatusOr<std::vector<ProbedValue>> Probe(const std::vector<std::string>& names) {
    std::vector<bool> needed(graph_.node_size(), false);
    absl::flat_hash_set<std::string> read;
    std::vector<std::string> open = names;
    while (!open.empty()) {
      const std::string name = std::move(open.back());
      open.pop_back();
      if (!read.insert(name).second) continue;
      auto it = producers_.find(name);
      if (it == producers_.end() || needed[it->second]) continue;
      needed[it->second] = true;
      for (const std::string& input : graph_.node(it->second).input()) {
        if (!input.empty()) open.push_back(input);
      }
    }
    onnx::ModelProto part;
    part.set_ir_version(model_.ir_version());
    *part.mutable_opset_import() = model_.opset_import();
    onnx::GraphProto& graph = *part.mutable_graph();
    absl::flat_hash_set<std::string> constants;
    for (const auto& tensor : graph_.initializer()) {
      constants.insert(tensor.name());
      if (!read.contains(tensor.name())) continue;
      if (ElementCount(tensor) > kMaxProbedElements || !HasData(tensor)) {
        DescribeAsInput(tensor, *graph.add_input());
      } else {
        *graph.add_initializer() = tensor;
      }
    }
    for (const auto& input : graph_.input()) {
      if (!constants.contains(input.name())) *graph.add_input() = input;
    }
    for (int i = 0; i < graph_.node_size(); ++i) {
      if (needed[i]) *graph.add_node() = graph_.node(i);
    }
    return probe_(part, names);
  }

  onnx::ModelProto& model_;
  onnx::GraphProto& graph_;
  const Prober& probe_;
  Names names_;
  absl::flat_hash_map<std::string, int> producers_;  // value -> node of graph_
  std::vector<std::string> undecided_;               // Ifs that run both branches
  std::string first_mend_;
  int count_ = 0;
};

}  // namespace

absl::Status InlineBranches(onnx::ModelProto& model, const Prober& probe,
                            std::vector<std::string>* notes) {
  if (!HasIf(model.graph())) return absl::OkStatus();
  BranchInliner inliner(model, probe);
  DS_RETURN_IF_ERROR(inliner.Run());
  std::string note = inliner.Note();
  if (notes != nullptr && !note.empty()) notes->push_back(std::move(note));
  return absl::OkStatus();
}

}  // namespace ds::onnx_io
