#include "graph/onnx/rewrite/dim_names.h"

#include <optional>
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

// The graph with numbers in place of the symbols; nothing if its shapes do not fit then.
std::optional<Graph> WithNumbers(const Graph& graph, const std::vector<Symbol>& symbols,
                                 int64_t first, int64_t step) {
  Graph numbered = graph;
  for (size_t k = 0; k < symbols.size(); ++k) {
    Shape& shape = *numbered.mutable_value(symbols[k].input).shape;
    shape[symbols[k].axis] = first + static_cast<int64_t>(k) * step;
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

}  // namespace

DimNames NameDynamicDims(const Graph& graph) {
  const std::vector<Symbol> symbols = InputSymbols(graph);
  std::optional<Graph> a, b;
  Attempt used = kAttempts[0];
  for (const Attempt& attempt : kAttempts) {
    if (a.has_value() && b.has_value()) break;
    used = attempt;
    a = WithNumbers(graph, symbols, attempt.first_a, attempt.step_a);
    b = WithNumbers(graph, symbols, attempt.first_b, attempt.step_b);
  }
  const bool numbered = a.has_value() && b.has_value();
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
  for (const Symbol& symbol : symbols) names[{symbol.input, symbol.axis}] = symbol.name;
  return names;
}

}  // namespace ds::onnx_io
