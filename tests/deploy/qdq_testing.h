// What the tests of InsertQdq share: small networks, plans for them, and ways to look at the
// result.
#pragma once

#include <string>
#include <vector>

#include "deploy/insert_qdq.h"
#include "graph/builder.h"
#include "gtest/gtest.h"

namespace ds {

inline QuantParams Codes(float scale, int32_t zero_point = 0, QuantType type = {8, false, false}) {
  return {.type = type, .scales = {scale}, .zero_points = {zero_point}};
}

inline QuantParams Weight(int64_t channels, int bits = 8, float scale = 0.01f, int axis = 0) {
  const size_t count = static_cast<size_t>(channels);
  return {.type = {bits, true, true},
          .axis = axis,
          .scales = std::vector<float>(count, scale),
          .zero_points = std::vector<int32_t>(count, 0)};
}

// The node that writes the value of this name; fails the test if none does.
inline const Node& Maker(const Graph& graph, const std::string& value) {
  static const Node& none = *new Node;
  const int index = graph.Producer(graph.FindValue(value));
  EXPECT_GE(index, 0) << "nothing writes " << value;
  return index < 0 ? none : graph.nodes()[index];
}

inline const Node& Maker(const Graph& graph, ValueId id) {
  return Maker(graph, graph.value(id).name);
}

// Operators from a value back to where it comes from, through input 0.
inline std::vector<std::string> Chain(const Graph& graph, const std::string& value) {
  std::vector<std::string> ops;
  ValueId id = graph.FindValue(value);
  for (int i = graph.Producer(id); i >= 0; i = graph.Producer(id)) {
    ops.push_back(graph.nodes()[i].op);
    if (graph.nodes()[i].inputs.empty()) break;
    id = graph.nodes()[i].inputs[0];
  }
  return ops;
}

inline std::vector<std::string> Ops(const Graph& graph) {
  std::vector<std::string> ops;
  for (const Node& node : graph.nodes()) ops.push_back(node.op);
  return ops;
}

inline Graph Insert(const Graph& graph, const QuantPlan& plan, QdqReport* report = nullptr,
                    const QdqOptions& options = {}) {
  absl::StatusOr<Graph> result = InsertQdq(graph, plan, options, report);
  EXPECT_TRUE(result.ok()) << result.status();
  return result.ok() ? *std::move(result) : Graph();
}

inline std::string Why(const QdqReport& report, const std::string& node) {
  for (const NodeFate& fate : report.nodes) {
    if (fate.node == node) return fate.quantised ? "integer" : fate.reason;
  }
  return "not in the report";
}

// y = act(Conv(x)): "x" -> "c.out" -> "act.out" (the output if there is no activation).
inline Graph ConvThen(const std::string& act, bool bias = true) {
  Builder b("net", 1);
  ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 3, 6, 6});
  x = b.Conv(x, "c", {.channels = 4, .bias = bias});
  if (act == "Clip")
    x = b.Op("Clip", {x, b.Scalar(0.0f), b.Scalar(6.0f)}, {}, "act");
  else if (!act.empty())
    x = b.Op(act, {x}, {}, "act");
  b.Output(x, "y");
  return *b.Finish();
}

inline QuantPlan PlanFor(const QuantParams& in, const QuantParams& out) {
  QuantPlan plan;
  plan.activations = {{"x", in}, {"y", out}};
  plan.weights = {{"c.weight", Weight(4)}};
  return plan;
}

}  // namespace ds
