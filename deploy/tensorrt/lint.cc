#include "deploy/tensorrt/lint.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "deploy/qdq/placement.h"
#include "deploy/qdq/weights.h"
#include "deploy/tensorrt/pairs.h"
#include "deploy/tensorrt/placement.h"
#include "graph/passes/uses.h"

namespace ds {
namespace {

using qdq::ClampOf;

bool IsQuantisation(const Node& node) {
  return node.op == "QuantizeLinear" || node.op == "DequantizeLinear";
}

// The functions named after operators return why a node stays in float, or nothing.
class Linter {
 public:
  explicit Linter(const Graph& graph) : graph_(graph), uses_(graph), pairs_(graph, uses_) {}

  TrtLint Run() {
    TrtLint lint;
    for (const Node& node : graph_.nodes()) {
      if (pairs_.IsOfConstants(node)) continue;
      if (std::optional<TrtVerdict> verdict = Judge(node)) lint.nodes.push_back(*verdict);
    }
    return lint;
  }

 private:
  std::optional<TrtVerdict> Judge(const Node& node) {
    const std::string refused = pairs_.WhyRefused(node);
    if (!refused.empty()) return TrtVerdict{node.name, node.op, TrtFate::kRefused, refused};
    if (IsQuantisation(node)) return std::nullopt;
    if (!IsFloatingPoint(graph_.value(node.outputs[0]).dtype)) return std::nullopt;
    if (IsWeightOnly(node)) return WeightOnly(node);
    hint_.clear();
    std::string reason = WhyFloat(node);
    const TrtFate fate = reason.empty() ? TrtFate::kInt8 : TrtFate::kFloat;
    if (fate == TrtFate::kInt8) int8_.push_back(node.name);
    return TrtVerdict{node.name, node.op, fate, reason.empty() ? hint_ : reason};
  }

  std::string WhyFloat(const Node& node) {
    if (node.op == "Conv" || node.op == "Gemm") return Multiply(node);
    if (node.op == "MatMul") return MatMul(node);
    if (node.op == "Add") return Add(node);
    if (node.op == "AveragePool" || node.op == "GlobalAveragePool") return Between(node);
    if (qdq::KeepsValues(node)) return Moves(node);
    if (ClampOf(graph_, node).has_value()) return Clamp(node);
    if (node.op == "ReduceMean") {
      return "TensorRT reduces in float; over all spatial axes write it as GlobalAveragePool";
    }
    return absl::StrCat("TensorRT runs ", node.op, " in float");
  }

  std::string Quoted(ValueId id) const { return absl::StrCat("'", graph_.value(id).name, "'"); }

  std::string Operand(const Node& node, size_t slot) const {
    const ValueId id = node.inputs[slot];
    if (pairs_.IsDequantised(id)) return "";
    return absl::StrCat("its input ", Quoted(id), " comes without Q/DQ");
  }

  // Quantised at once, or behind the clamp that alone reads it.
  bool ResultIsQuantised(const Node& node) const {
    ValueId id = node.outputs[0];
    if (uses_.Count(id) == 1) {
      const std::vector<int> readers = graph_.Consumers(id);
      if (!readers.empty() && ClampOf(graph_, graph_.nodes()[readers[0]])) {
        id = graph_.nodes()[readers[0]].outputs[0];
      }
    }
    return pairs_.IsQuantised(id);
  }

  std::string Result(const Node& node) const {
    if (ResultIsQuantised(node)) return "";
    return absl::StrCat("its result ", Quoted(node.outputs[0]), " is not quantised");
  }

  std::string Multiply(const Node& node) {
    const std::string operand = Operand(node, 0);
    if (!operand.empty()) return operand;
    if (!pairs_.IsDequantised(node.inputs[1])) {
      return absl::StrCat("its weight ", Quoted(node.inputs[1]), " comes without DequantizeLinear");
    }
    if (node.op == "Gemm" && node.GetInt("transA", 0) != 0) return "its first input is transposed";
    return "";
  }

  std::string MatMul(const Node& node) const {
    const std::string operand = Operand(node, 0);
    return operand.empty() ? Operand(node, 1) : operand;
  }

  // An addition is computed with the convolution that writes one operand, if the other one, which
  // is read back from memory, is INT8.
  std::string Add(const Node& node) {
    const std::optional<size_t> fused = qdq::FusedSlot(graph_, uses_, node);
    for (size_t slot = 0; slot < node.inputs.size(); ++slot) {
      if (slot == fused || pairs_.IsDequantised(node.inputs[slot])) continue;
      if (!fused) return Operand(node, slot);
      return absl::StrCat("its other operand ", Quoted(node.inputs[slot]),
                          " has no Q/DQ: put a pair on the identity branch");
    }
    const std::string result = Result(node);
    if (!result.empty()) return result;
    if (fused) return IsInt8(node.inputs[*fused]) ? "" : "the convolution before it stays in float";
    for (const ValueId id : node.inputs) {
      if (!pairs_.ComesFrom(id, "Conv")) continue;
      hint_ = absl::StrCat("not computed with the convolution before it, for ", Quoted(id),
                           " has Q/DQ of its own: leave that pair out");
      break;
    }
    return "";
  }

  std::string Between(const Node& node) const {
    const std::string operand = Operand(node, 0);
    return operand.empty() ? Result(node) : operand;
  }

  std::string Moves(const Node& node) const {
    const std::string operand = Operand(node, 0);
    if (!operand.empty()) return operand;
    for (const ValueId id : node.outputs) {
      if (!pairs_.SameScale(node.inputs[0], id)) {
        return absl::StrCat("its result ", Quoted(id), " is not quantised with its input's scale");
      }
    }
    return "";
  }

  std::string Clamp(const Node& node) const {
    const ValueId id = node.inputs[0];
    if (IsInt8(id) && uses_.Count(id) == 1) return "";
    const std::string between = Between(node);
    if (between.empty()) return "";
    return absl::StrCat("nothing in INT8 before it to be fused into, and ", between);
  }

  bool IsInt8(ValueId id) const {
    const int producer = uses_.ProducerIndex(id);
    if (producer < 0) return false;
    const std::string& name = graph_.nodes()[producer].name;
    return std::find(int8_.begin(), int8_.end(), name) != int8_.end();
  }

  bool IsWeightOnly(const Node& node) const {
    if (node.op != "Gemm" && node.op != "MatMul") return false;
    return pairs_.WeightType(node.inputs[1]) == DType::kInt4;
  }

  TrtVerdict WeightOnly(const Node& node) const {
    const bool quantised = pairs_.IsDequantised(node.inputs[0]);
    if (!quantised) return {node.name, node.op, TrtFate::kInt4, ""};
    return {node.name, node.op, TrtFate::kFloat,
            absl::StrCat("int4 weights are multiplied in float: the Q/DQ of its input ",
                         Quoted(node.inputs[0]), " only rounds, leave it out")};
  }

  const Graph& graph_;
  const Uses uses_;
  const qdq::TrtPairs pairs_;
  std::vector<std::string> int8_;  // names of the nodes so far that run in INT8
  std::string hint_;
};

}  // namespace

std::string Name(TrtFate fate) {
  switch (fate) {
    case TrtFate::kInt8:
      return "INT8";
    case TrtFate::kInt4:
      return "INT4 weights";
    case TrtFate::kFloat:
      return "float";
    case TrtFate::kRefused:
      return "refused";
  }
  return "?";
}

int TrtLint::Count(TrtFate fate) const {
  return static_cast<int>(std::count_if(nodes.begin(), nodes.end(),
                                        [fate](const TrtVerdict& v) { return v.fate == fate; }));
}

TrtLint LintForTensorRT(const Graph& graph) { return Linter(graph).Run(); }

std::string LintText(const TrtLint& lint) {
  std::string text;
  for (const TrtVerdict& verdict : lint.nodes) {
    absl::StrAppend(
        &text, absl::StrFormat("%-12s %-18s %s", Name(verdict.fate), verdict.op, verdict.node));
    absl::StrAppend(&text, verdict.reason.empty() ? "" : ": ", verdict.reason, "\n");
  }
  absl::StrAppend(&text, lint.Count(TrtFate::kInt8), " nodes in INT8, ", lint.Count(TrtFate::kInt4),
                  " with INT4 weights, ", lint.Count(TrtFate::kFloat), " in float, ",
                  lint.Count(TrtFate::kRefused), " refused\n");
  return text;
}

}  // namespace ds
