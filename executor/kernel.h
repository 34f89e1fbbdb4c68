// How one node is executed: a kernel is made once from the node (attributes and constant operands
// read there) and then called once a forward pass. Kernels run on LibTorch's autograd, so that each
// defines its own backward by what it calls.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "executor/graph_module.h"
#include "graph/graph.h"

namespace ds::executor {

struct DropoutKey {
  uint64_t seed = 0;
  uint64_t step = 0;
  uint64_t rank = 0;
};

// What all nodes of one forward pass share.
struct RunState {
  bool training = false;
  bool norms_frozen = false;
  Precision precision = Precision::kFloat32;
  DropoutKey dropout_key;

  bool trains_norms() const { return training && !norms_frozen; }
  bool low_precision() const { return precision != Precision::kFloat32; }
  at::ScalarType low_type() const {
    return precision == Precision::kBFloat16 ? at::kBFloat16 : at::kHalf;
  }
};

// The values of a forward pass, indexed by ValueId; `low` holds reduced-precision copies made on
// demand, which live as long as their value.
struct ValueTable {
  std::vector<at::Tensor> full;
  std::vector<at::Tensor> low;
};

// One node's operands in one forward pass.
class Call {
 public:
  Call(const RunState& run, ValueTable& values, const std::vector<ValueId>& inputs,
       const std::vector<ValueId>& outputs, const std::vector<bool>& is_weight, bool may_overwrite)
      : run(run),
        may_overwrite(may_overwrite),
        values_(values),
        inputs_(inputs),
        outputs_(outputs),
        is_weight_(is_weight) {}

  int inputs() const { return static_cast<int>(inputs_.size()); }
  int outputs() const { return static_cast<int>(outputs_.size()); }
  bool Has(int i) const { return i < inputs() && inputs_[i] != kNoValue; }
  const at::Tensor& In(int i) const { return values_.full[static_cast<size_t>(inputs_[i])]; }
  // Input i in the precision of matrix products: cast down where the run asks for it, once a value;
  // else in fp32 what a file has in half precision, as its weights are.
  at::Tensor Low(int i) const;
  // Input i of an operator of several operands, another of which is `other`: low-precision
  // activations stay so, and an initialiser that meets one is cast to it.
  at::Tensor Matching(int i, int other) const;
  // An initialiser: it has no precision of its own and follows its partner's.
  bool IsWeight(int i) const { return is_weight_[static_cast<size_t>(i)]; }
  void Set(int i, at::Tensor value) const {
    if (outputs_[i] != kNoValue) values_.full[static_cast<size_t>(outputs_[i])] = std::move(value);
  }

  const RunState& run;
  // Nobody but this node needs input 0's elements, autograd included.
  const bool may_overwrite;

 private:
  ValueTable& values_;
  const std::vector<ValueId>& inputs_;
  const std::vector<ValueId>& outputs_;
  const std::vector<bool>& is_weight_;
};

using Kernel = std::function<void(const Call&)>;

// What a kernel is made from.
struct NodeView {
  const Graph& graph;
  const Node& node;

  bool Has(int i) const {
    return i < static_cast<int>(node.inputs.size()) && node.inputs[i] != kNoValue;
  }
  // Input i's elements if it is a constant of integers.
  std::optional<std::vector<int64_t>> ConstantInts(int i) const;
  // Input i's only element if it is a constant; any numeric type.
  std::optional<double> ConstantScalar(int i) const;
};

// An operand of integers (axes, sizes): read once if it is constant, from the run's tensor
// otherwise.
class IntsOperand {
 public:
  IntsOperand(const NodeView& view, int input)
      : input_(input), present_(view.Has(input)), fixed_(view.ConstantInts(input)) {}
  bool present() const { return present_; }
  std::vector<int64_t> Get(const Call& call) const;

 private:
  int input_;
  bool present_;
  std::optional<std::vector<int64_t>> fixed_;
};

// The same for one number; `fallback` where the input is absent.
class ScalarOperand {
 public:
  ScalarOperand(const NodeView& view, int input, double fallback)
      : input_(input),
        present_(view.Has(input)),
        fallback_(fallback),
        fixed_(view.ConstantScalar(input)) {}
  double Get(const Call& call) const;

 private:
  int input_;
  bool present_;
  double fallback_;
  std::optional<double> fixed_;
};

using KernelFactory = absl::StatusOr<Kernel> (*)(const NodeView&);
using FactoryTable = absl::flat_hash_map<std::string, KernelFactory>;

void AddLinear(FactoryTable& table);         // Conv, Gemm, MatMul, Einsum
void AddElementwise(FactoryTable& table);    // common activations and arithmetic
void AddActivations(FactoryTable& table);    // the others
void AddLogic(FactoryTable& table);          // comparisons, logic, Max, Min, Mod
void AddNormalization(FactoryTable& table);  // BatchNormalization, LayerNormalization, Softmax
void AddGroupNormalization(FactoryTable& table);
void AddReductions(FactoryTable& table);
void AddArrangement(FactoryTable& table);  // DepthToSpace, GridSample, Trilu, OneHot ...
void AddPooling(FactoryTable& table);
void AddMovement(FactoryTable& table);  // Concat, Split, Slice, Gather, Pad
void AddResize(FactoryTable& table);
void AddQuantization(FactoryTable& table);  // QuantizeLinear, DequantizeLinear
void AddRecurrent(FactoryTable& table);     // LSTM, GRU, RNN, DynamicQuantizeLSTM
void AddConvTranspose(FactoryTable& table);
void AddScatter(FactoryTable& table);    // GatherND, ScatterND, GatherElements, ScatterElements
void AddDetection(FactoryTable& table);  // NonMaxSuppression, RoiAlign
void AddShapes(FactoryTable& table);     // constants, Shape, Range, Reshape, Transpose, Squeeze ...

// Float types below single precision compute in single precision.
at::Tensor AtLeastFloat(const at::Tensor& x);
// The type of output i where the graph itself says that it is a half.
std::optional<at::ScalarType> DeclaredHalf(const NodeView& view, int i);
// `x` in that type.
at::Tensor Narrowed(const at::Tensor& x, std::optional<at::ScalarType> half);
// Integers smaller than a byte are held in whole ones.
absl::StatusOr<at::ScalarType> TorchType(DType dtype);
// `axis` of ONNX (negative from the end) as LibTorch takes it: a tensor of rank 0 has axis 0.
int64_t Axis(int64_t axis, int64_t rank);

}  // namespace ds::executor
