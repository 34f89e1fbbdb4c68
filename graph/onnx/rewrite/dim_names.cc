#include "graph/onnx/rewrite/dim_names.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "graph/schema/schema.h"

namespace ds::onnx_io {
namespace {

// Symbol k is put in as first + k * step in each of two runs. The numbers have few divisors in
// common, so that rounding (strides, ceil) does not return both unchanged. The second attempt is
// for windows too large for the first.
struct Attempt {
  int64_t first_a, step_a, first_b, step_b;
};
constexpr Attempt kAttempts[] = {{6, 4, 11, 6}, {1030, 4, 2053, 6}};

// More symbols have too many ways to be equal.
constexpr size_t kMostMergedSymbols = 5;

struct Symbol {
  ValueId input;
  int axis;
  std::string name;
};

std::vector<Symbol> InputSymbols(const Graph& graph) {
  std::vector<Symbol> symbols;
  absl::flat_hash_set<std::string> taken;
  for (const ValueId input : graph.inputs()) {
    const Value& value = graph.value(input);
    for (size_t axis = 0; value.shape.has_value() && axis < value.shape->size(); ++axis) {
      if ((*value.shape)[axis] != kDynamicDim) continue;
      std::string name = input == graph.inputs().front() && axis == 0
                             ? std::string("batch")
                             : absl::StrCat(value.name, "_", axis);
      while (!taken.insert(name).second) name += "_";
      symbols.push_back({input, static_cast<int>(axis), std::move(name)});
    }
  }
  return symbols;
}

// Which symbols are one: for each the first of its class.
using Classes = std::vector<size_t>;

// The graph with numbers in place of the symbols; nothing if its shapes do not fit then.
std::optional<Graph> WithNumbers(const Graph& graph, const std::vector<Symbol>& symbols,
                                 const Classes& classes, int64_t first, int64_t step) {
  Graph numbered = graph;
  for (size_t k = 0; k < symbols.size(); ++k) {
    Shape& shape = *numbered.mutable_value(symbols[k].input).shape;
    shape[symbols[k].axis] = first + static_cast<int64_t>(classes[k]) * step;
  }
  if (!InferShapes(numbered).ok()) return std::nullopt;
  return numbered;
}

std::string NameOf(int64_t a, int64_t b, const std::vector<Symbol>& symbols,
                   const Attempt& attempt) {
  for (size_t k = 0; k < symbols.size(); ++k) {
    const auto index = static_cast<int64_t>(k);
    if (a == attempt.first_a + index * attempt.step_a &&
        b == attempt.first_b + index * attempt.step_b) {
      return symbols[k].name;
    }
  }
  return "";
}

// Nothing where the shapes do not fit, and `must_fit`.
std::optional<DimNames> Name(const Graph& graph, const std::vector<Symbol>& symbols,
                             const Classes& classes, bool must_fit) {
  std::optional<Graph> a, b;
  Attempt used = kAttempts[0];
  for (const Attempt& attempt : kAttempts) {
    if (a.has_value() && b.has_value()) break;
    used = attempt;
    a = WithNumbers(graph, symbols, classes, attempt.first_a, attempt.step_a);
    b = WithNumbers(graph, symbols, classes, attempt.first_b, attempt.step_b);
  }
  const bool numbered = a.has_value() && b.has_value();
  if (must_fit && !numbered) return std::nullopt;
  DimNames names;
  for (size_t id = 0; id < graph.values().size(); ++id) {
    const auto value_id = static_cast<ValueId>(id);
    const Value& value = graph.value(value_id);
    for (size_t axis = 0; value.shape.has_value() && axis < value.shape->size(); ++axis) {
      if ((*value.shape)[axis] != kDynamicDim) continue;
      std::string& name = names[{value_id, static_cast<int>(axis)}];
      if (numbered && a->value(value_id).shape.has_value() &&
          b->value(value_id).shape.has_value()) {
        name = NameOf((*a->value(value_id).shape)[axis], (*b->value(value_id).shape)[axis], symbols,
                      used);
      }
      if (name.empty()) name = absl::StrCat(value.name, "_", axis);
    }
  }
  for (size_t k = 0; k < symbols.size(); ++k) {
    names[{symbols[k].input, symbols[k].axis}] = symbols[classes[k]].name;
  }
  return names;
}

Classes AllApart(size_t count) {
  Classes classes(count);
  std::iota(classes.begin(), classes.end(), size_t{0});
  return classes;
}

// All ways in which `count` symbols may be equal, those with most classes first.
std::vector<Classes> WaysToMerge(size_t count) {
  std::vector<Classes> ways = {{}};
  for (size_t k = 0; k < count; ++k) {
    std::vector<Classes> longer;
    for (const Classes& way : ways) {
      for (size_t first = 0; first <= k; ++first) {
        if (first < k && way[first] != first) continue;
        longer.push_back(way);
        longer.back().push_back(first);
      }
    }
    ways = std::move(longer);
  }
  std::ranges::stable_sort(ways, std::greater<>(), [](const Classes& way) {
    return std::set<size_t>(way.begin(), way.end()).size();
  });
  return ways;
}

// Operands alike on paper do not have to be equal: the result follows the first.
Graph WithoutChoices(const Graph& graph) {
  Graph plain = graph;
  for (Node& node : plain.mutable_nodes()) {
    if (node.op != "Where" || node.inputs.size() != 3) continue;
    const auto& condition = graph.value(node.inputs[0]).shape;
    const bool is_choice =
        condition.has_value() &&
        std::ranges::all_of(*condition, [](int64_t extent) { return extent == 1; }) &&
        graph.value(node.inputs[1]).shape == graph.value(node.inputs[2]).shape &&
        graph.value(node.inputs[1]).shape == graph.value(node.outputs[0]).shape;
    if (!is_choice) continue;
    node.op = "Identity";
    node.inputs = {node.inputs[1]};
  }
  return plain;
}

}  // namespace

DimNames NameDynamicDims(const Graph& graph) {
  const std::vector<Symbol> symbols = InputSymbols(graph);
  return *Name(graph, symbols, AllApart(symbols.size()), /*must_fit=*/false);
}

DimNames NameEqualDims(const Graph& graph) {
  const Graph plain = WithoutChoices(graph);
  const std::vector<Symbol> symbols = InputSymbols(plain);
  const Classes apart = AllApart(symbols.size());
  if (symbols.size() <= kMostMergedSymbols) {
    for (const Classes& classes : WaysToMerge(symbols.size())) {
      auto names = Name(plain, symbols, classes, /*must_fit=*/true);
      if (names.has_value()) return *std::move(names);
    }
  }
  return *Name(plain, symbols, apart, /*must_fit=*/false);
}

}  // namespace ds::onnx_io
