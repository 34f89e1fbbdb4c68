// What of a graph is quantised, and how: made by the Quantizer, carried out by exporters and the
// engine. Names are the graph's, so that a plan outlives copies and rewrites of it.
#pragma once

#include <map>
#include <string>

#include "quant/affine.h"

namespace ds {

struct QuantPlan {
  // Values (a node's results and the graph's inputs) by name: one scale each. A value that is not
  // here stays float.
  std::map<std::string, QuantParams> activations;
  // Weights of Conv, Gemm and MatMul (float32 initialisers) by name.
  std::map<std::string, QuantParams> weights;
  // Constant operands of Add and Mul (float32 initialisers) by name: one scale each, of the type
  // that the other operand's codes have. One that is not here stays float, and its node with it.
  std::map<std::string, QuantParams> constants;
  // Nodes by name that stay in float although their op can be quantised, with the reason.
  std::map<std::string, std::string> left_in_float;
};

}  // namespace ds
