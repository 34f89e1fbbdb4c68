// A graph::Graph executed node by node on LibTorch: any batch size, autograd, hooks. Convolutions
// run channels_last.
//
// Not thread-safe. Parameters are fp32 leaf tensors (master weights); under bf16/fp16 the executor
// casts the operands of Conv, Gemm and MatMul down (weights once a forward pass) and keeps
// normalisation, softmax, the loss and all statistics in fp32.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace ds {

enum class Precision { kFloat32, kBFloat16, kFloat16 };

struct NamedTensor {
  std::string name;  // the initialiser's name in the graph
  at::Tensor tensor;
  // Which op reads it first and in which slot ("Conv", 1): weight decay groups look at it.
  std::string op;
  int slot = 0;
};

struct GraphModuleOptions {
  // Values that observer and transform must see: what makes them is not fused with what follows.
  std::set<ValueId> visible;
};

class GraphModule {
 public:
  // Takes the graph's weights (copied). Unimplemented naming an op that the executor lacks.
  static absl::StatusOr<std::unique_ptr<GraphModule>> Create(
      Graph graph, const GraphModuleOptions& options = {});
  virtual ~GraphModule() = default;

  // Runs the graph. `inputs` in the order of graph().inputs(). InvalidArgument with the node's name
  // and shapes if LibTorch refuses (its own words kept).
  virtual absl::StatusOr<std::vector<at::Tensor>> Forward(
      const std::vector<at::Tensor>& inputs) = 0;

  // Training: BatchNorm uses the batch's statistics and updates the running ones, Dropout drops.
  // Default: false.
  virtual void set_training(bool training) = 0;
  // In training too, BatchNorm takes the running statistics and leaves them as they are. Default:
  // false.
  virtual void set_norms_frozen(bool frozen) = 0;
  virtual void set_precision(Precision precision) = 0;
  virtual Precision precision() const = 0;
  // Key of Dropout's counter-based generator; the trainer sets (seed, step, rank) before each
  // forward pass.
  virtual void set_dropout_key(uint64_t seed, uint64_t step, uint64_t rank) = 0;

  // Trainable, requires_grad, in graph order; the same tensors for the module's whole life.
  virtual const std::vector<NamedTensor>& parameters() const = 0;
  // BatchNorm's running statistics.
  virtual const std::vector<NamedTensor>& buffers() const = 0;
  // Puts back what an update from outside, an optimiser's step, has taken out of the range that the
  // module allows (QatModule's steps). Called after each, so that no forward pass changes a
  // parameter.
  virtual void PutInRange() = 0;
  // Parameters in the order in which the forward pass first uses them (indices into parameters()).
  virtual const std::vector<int>& forward_order() const = 0;

  // Called in every forward pass with each input and each node's result as they come to be: what
  // calibration looks at. The tensor may be overwritten by a later node: it must not be kept.
  // Results inside a fused step (a BatchNormalization whose Add and Relu run with it) are not seen
  // unless GraphModuleOptions names them. Null: nobody looks.
  using ValueObserver = std::function<void(ValueId value, const at::Tensor& tensor)>;
  virtual void set_value_observer(ValueObserver observer) = 0;

  // Called in every forward pass with each parameter before the first node runs, and with each
  // input and each node's result as they come to be (inside a fused step not, as above): what it
  // returns takes the value's place in all nodes that read it, and the parameter itself stays as it
  // is. Part of autograd. An undefined tensor: no change. c10::Error thrown inside is Forward's
  // error. Null: nothing is changed.
  using ValueTransform = std::function<at::Tensor(ValueId value, const at::Tensor& tensor)>;
  virtual void set_value_transform(ValueTransform transform) = 0;

  virtual const Graph& graph() const = 0;
  // The graph with the current weights and statistics.
  virtual Graph ExportGraph() const = 0;
};

// Host tensor -> LibTorch (shares memory where it can; `owner` semantics kept; integers smaller
// than a byte get one each) and back (contiguous copy).
at::Tensor ToTorch(const Tensor& tensor);
absl::StatusOr<Tensor> FromTorch(const at::Tensor& tensor);

}  // namespace ds
