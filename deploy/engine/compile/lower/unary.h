// Values that are a function of one code: whatever chain of element-wise nodes makes them, also
// through further codes, it is a table of 256 numbers.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "deploy/engine/compile/lower/constants.h"
#include "deploy/engine/compile/program.h"
#include "deploy/engine/runtime/general.h"
#include "graph/graph.h"

namespace ds::engine::compile {

// y = clamp(round half to even(x / scale) + zero, 0, 255), as QuantizeLinear computes it in fp32.
uint8_t CodeOf(float real, const CodeScale& scale);
inline float RealOf(int code, const CodeScale& scale) {
  return static_cast<float>(code - scale.zero) * scale.scale;
}

// real[code]: what the value is where `root`, a value of codes with its signed ones moved up by
// 128, has that code.
struct Unary {
  ValueId root = kNoValue;
  std::array<float, 256> real{};
  std::string story;  // the operators on the way
};

class UnaryFinder {
 public:
  // `chains`: through codes between nodes too; otherwise a single node.
  UnaryFinder(const Graph& graph, const Makers& makers, bool chains)
      : graph_(graph), makers_(makers), chains_(chains) {}

  // Null where the value, of floats, is no such function.
  const Unary* Find(ValueId id);

 private:
  std::optional<Unary> Make(ValueId id);
  std::optional<Unary> Dequantised(const Node& node);
  std::optional<Unary> Applied(const Node& node);
  // A constant of one element that takes no part in the result's shape.
  std::optional<float> ScalarConstant(ValueId id, ValueId result) const;

  const Graph& graph_;
  const Makers& makers_;
  const bool chains_;
  std::map<ValueId, std::optional<Unary>> found_;
};

// One number through an element-wise node of one data input (Relu, Clip, Sigmoid, Gelu, ...).
// Nothing for another operator, or bounds that are no constants.
std::optional<float> ApplyUnary(const Graph& graph, const Node& node, float x);
bool IsUnary(const Graph& graph, const Node& node);
// The runtime's function that the node is, of one operand and perhaps a constant one.
std::optional<file::UnaryParameters> UnaryOf(const Graph& graph, const Node& node);
bool IsArithmetic(const Node& node);  // of two operands: Add, Sub, Mul, Div, Min, Max, Pow

}  // namespace ds::engine::compile
