// Constants of a quantised graph: what scales, zero points and weights are, also where nodes stand
// between them and their initialiser.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "deploy/engine/compile/program.h"
#include "graph/graph.h"

namespace ds::engine::compile {

// Nodes by the values that they write, indexed once.
class Makers {
 public:
  explicit Makers(const Graph& graph);
  // Null for inputs and initialisers.
  const Node* Of(ValueId id) const;
  int Reads(ValueId id) const { return reads_[static_cast<size_t>(id)]; }

 private:
  const Graph& graph_;
  std::vector<int> maker_, reads_;
};

// The value if it follows from initialisers by DequantizeLinear, Cast, arithmetic of equal shapes
// or scalars, Clip without bounds, Identity, Transpose or a reshape; float32.
std::optional<Tensor> ConstantFloats(const Graph& graph, const Makers& makers, ValueId id);

// Integers of 2 to 32 bits through Casts, row-major, with their shape.
struct ConstantInts {
  Shape shape;
  std::vector<int32_t> values;
};
std::optional<ConstantInts> ConstantIntegers(const Graph& graph, const Makers& makers, ValueId id);

// Of a QuantizeLinear or DequantizeLinear of 8-bit codes with one scale.
std::optional<CodeScale> ScaleOf(const Graph& graph, const Makers& makers, const Node& node);

// A weight of codes: DequantizeLinear of constant integers in [-128, 127] less their zero points,
// with one scale or one for each index of `axis`.
struct CodeWeight {
  Shape shape;
  std::vector<int8_t> codes;  // row-major
  std::vector<float> scales;  // `shape[axis]` of them
};
std::optional<CodeWeight> WeightOf(const Graph& graph, const Makers& makers, ValueId id, int axis);

// A matrix of codes in [-8, 7], a scale for each output and each block of the depth.
struct BlockWeight {
  int64_t outputs = 0, depth = 0;
  int64_t block = 0;          // a multiple of 8
  std::vector<int8_t> codes;  // [outputs, depth]
  std::vector<float> scales;  // [blocks, outputs]
};
// `rows`: the value is [outputs, depth], otherwise [depth, outputs]; Transposes count.
std::optional<BlockWeight> BlockWeightOf(const Graph& graph, const Makers& makers, ValueId id,
                                         bool rows);

}  // namespace ds::engine::compile
