// Graphs between codes as quantisers write them, and a run of the engine on what it makes of one.
#pragma once

#include <string>
#include <vector>

#include "deploy/engine/compile/compile.h"
#include "graph/builder.h"
#include "graph/graph.h"
#include "tests/deploy/engine/compile/reference.h"

namespace ds::testing {

// Builds a graph with QuantizeLinear and DequantizeLinear around every operator.
class CodeGraph {
 public:
  explicit CodeGraph(bool is_signed = false) : is_signed_(is_signed), builder_("codes") {}

  Builder& builder() { return builder_; }
  ValueId Input(const std::string& name, Shape shape);
  // Codes and back.
  ValueId Through(ValueId real, float scale, int zero);
  struct ConvShape {
    int64_t inputs, outputs, kernel = 1, stride = 1, groups = 1, dilation = 1, bits = 8;
  };
  // Of the dequantised `x`; weights are a pattern, with one scale a channel or one for all.
  ValueId Conv(ValueId x, float input_scale, const ConvShape& shape, bool per_channel = true);
  ValueId Linear(ValueId x, float input_scale, int64_t inputs, int64_t outputs);
  Graph Finish(ValueId output);

 private:
  ValueId Weight(Shape shape, const std::vector<float>& scales, int64_t bits = 8);
  ValueId Bias(int64_t count, float input_scale, const std::vector<float>& scales);

  const bool is_signed_;
  Builder builder_;
  uint32_t seed_ = 1;
};

// Deterministic, in [-2, 2].
Numbers SomeNumbers(const Shape& shape, uint32_t seed = 7);

// Compiles and runs; failures are reported to GoogleTest and give nothing.
std::vector<Numbers> RunEngine(const Graph& graph, const std::vector<Numbers>& inputs,
                               const engine::compile::CompileOptions& options = {},
                               const std::string& isa = "", int threads = 1);

// The greatest difference of an element, over `unit`.
double Distance(const Numbers& a, const Numbers& b, double unit);

}  // namespace ds::testing
