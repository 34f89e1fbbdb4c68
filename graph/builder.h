// Builds a Graph layer by layer: shapes are inferred as it goes, weights are initialised from a
// seed. The first error is kept and comes out of Finish(), so that a model reads as a list of
// layers; after an error every call returns kNoValue and does nothing.
//
// A layer's name is the node's name and the stem of its parameters: "conv1" owns "conv1.weight" and
// "conv1.bias", a batch norm "running_mean" and "running_var" as well. Names must be unique. Not
// thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "graph/schema/schema.h"

namespace ds {

struct ConvOptions {
  int64_t channels = 0;  // output channels, 1 or more
  int64_t kernel = 3;    // square window, elements
  int64_t stride = 1;
  int64_t padding =
      -1;  // elements on each side; -1: (kernel - 1) / 2 * dilation, "same" for odd kernels
  int64_t groups = 1;
  int64_t dilation = 1;
  bool bias = false;
};

struct PoolOptions {
  int64_t kernel = 2;
  int64_t stride = 2;
  int64_t padding = 0;
  bool ceil_mode = false;
  bool count_include_pad = false;  // average pools only
};

class Builder {
 public:
  explicit Builder(std::string graph_name, uint64_t seed = 0);

  ValueId Input(const std::string& name, DType dtype, Shape shape);
  // Makes `x` a graph output called `name`.
  void Output(ValueId x, const std::string& name);

  // Any operator with one output; nothing stands for an attribute's default. An empty name is made
  // up.
  ValueId Op(const std::string& op, std::vector<ValueId> inputs, Attributes attributes = {},
             const std::string& name = "");
  // The same for an operator with `count` outputs.
  std::vector<ValueId> MultiOp(const std::string& op, std::vector<ValueId> inputs, int count,
                               Attributes attributes = {}, const std::string& name = "");
  // A trainable initialiser.
  ValueId Parameter(const std::string& name, Tensor data);
  // A constant initialiser.
  ValueId Constant(const std::string& name, Tensor data);
  // A constant list of int64 (a shape, axes); equal lists share one initialiser.
  ValueId Ints(const std::vector<int64_t>& numbers);
  // A constant float32 scalar, shared likewise.
  ValueId Scalar(float number);

  // [N, C, H, W] -> [N, channels, H', W']; He fan-out weights, bias uniform in 1/sqrt(fan-in) if
  // there is one.
  ValueId Conv(ValueId x, const std::string& name, const ConvOptions& options);
  // epsilon 1e-5, momentum as ONNX has it: running = running * momentum + batch * (1 - momentum).
  // `gamma` is the initial scale.
  ValueId BatchNorm(ValueId x, const std::string& name, float momentum = 0.9f,
                    float epsilon = 1e-5f, float gamma = 1.0f);
  // [N, in] -> [N, out] as Gemm. Weight [out, in] and bias are uniform in 1/sqrt(in).
  ValueId Linear(ValueId x, const std::string& name, int64_t out);
  // [..., in] -> [..., out] as MatMul and Add. Weight [in, out] is normal with `deviation`, the
  // bias 0.
  ValueId TokenLinear(ValueId x, const std::string& name, int64_t out, double deviation = 0.02);
  // Over the last axis.
  ValueId LayerNorm(ValueId x, const std::string& name, float epsilon = 1e-5f);
  ValueId Relu(ValueId x) { return Op("Relu", {x}); }
  ValueId Relu6(ValueId x) { return Op("Clip", {x, Scalar(0.0f), Scalar(6.0f)}); }
  ValueId Add(ValueId a, ValueId b) { return Op("Add", {a, b}); }
  ValueId Mul(ValueId a, ValueId b) { return Op("Mul", {a, b}); }
  ValueId MaxPool(ValueId x, const PoolOptions& options);
  ValueId AveragePool(ValueId x, const PoolOptions& options);
  ValueId GlobalAveragePool(ValueId x) { return Op("GlobalAveragePool", {x}); }
  ValueId Flatten(ValueId x) { return Op("Flatten", {x}, {{"axis", int64_t{1}}}); }
  ValueId Reshape(ValueId x, const std::vector<int64_t>& shape) {
    return Op("Reshape", {x, Ints(shape)});
  }
  ValueId Transpose(ValueId x, std::vector<int64_t> perm) {
    return Op("Transpose", {x}, {{"perm", std::move(perm)}});
  }
  ValueId Concat(std::vector<ValueId> parts, int64_t axis) {
    return Op("Concat", std::move(parts), {{"axis", axis}});
  }
  // Identity if ratio is 0.
  ValueId Dropout(ValueId x, double ratio);

  // Extent `axis` (may count from the end) of x; 0 after an error.
  int64_t Extent(ValueId x, int axis) const;
  uint64_t seed() const { return seed_; }
  bool ok() const { return status_.ok(); }
  // Keeps `status` if it is the first error.
  void Fail(absl::Status status);

  // The finished graph, validated, with all shapes; or the first error. The builder is empty
  // afterwards.
  absl::StatusOr<Graph> Finish();

 private:
  ValueId Pool(const std::string& op, ValueId x, const PoolOptions& options, Attributes extra);
  std::string NodeName(const std::string& wanted, const std::string& op);
  ValueId AddInitializer(const std::string& name, Tensor data, bool trainable);

  Graph graph_;
  uint64_t seed_;
  absl::Status status_;
  KnownInts known_;
  absl::flat_hash_map<std::string, int> op_counts_;
};

}  // namespace ds
