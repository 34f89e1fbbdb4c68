// A module with tensors of every kind that optimisers treat apart, and a fake GraphModule around
// them.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "ATen/Parallel.h"
#include "ATen/core/grad_mode.h"
#include "executor/graph_module.h"

namespace ds {

// Deterministic pseudo-random values in [-1, 1): a linear congruential generator, the same on every
// machine.
inline at::Tensor TestValues(std::vector<int64_t> shape, uint64_t seed) {
  at::Tensor values = at::empty(shape, at::kFloat);
  uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
  float* out = values.data_ptr<float>();
  for (int64_t i = 0; i < values.numel(); ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    out[i] = static_cast<float>(static_cast<int32_t>(state >> 33) - (1 << 30)) /
             static_cast<float>(1 << 30);
  }
  return values;
}

// A channels_last convolution weight of prime extents, a 1x1 one, a matrix, a norm's scale, a bias,
// one element, none.
inline std::vector<NamedTensor> TestParameters() {
  std::vector<NamedTensor> parameters = {
      {"conv.weight", TestValues({5, 3, 3, 7}, 1).contiguous(at::MemoryFormat::ChannelsLast),
       "Conv", 1},
      {"point.weight", TestValues({17, 13, 1, 1}, 2).contiguous(at::MemoryFormat::ChannelsLast),
       "Conv", 1},
      {"fc.weight", TestValues({31, 67}, 3), "Gemm", 1},
      {"norm.weight", TestValues({19}, 4), "BatchNormalization", 1},
      {"bias", TestValues({11}, 5), "Gemm", 2},
      {"one", TestValues({1}, 6), "Mul", 1},
      {"none", TestValues({0, 4}, 7), "Gemm", 1},
  };
  for (NamedTensor& parameter : parameters) parameter.tensor.requires_grad_(true);
  return parameters;
}

inline void SetGradients(std::vector<NamedTensor>& parameters, uint64_t step) {
  for (size_t i = 0; i < parameters.size(); ++i) {
    // As autograd may give them: with the default strides, whatever the parameter's are.
    parameters[i].tensor.mutable_grad() =
        TestValues(parameters[i].tensor.sizes().vec(), 1000 * step + i + 17);
  }
}

// Runs `forward` on its parameters; remembers what was set on it.
class FakeModule final : public GraphModule {
 public:
  using ForwardFunction = std::function<at::Tensor(FakeModule&, const at::Tensor&)>;
  FakeModule(std::vector<NamedTensor> parameters, std::vector<NamedTensor> buffers,
             ForwardFunction forward = nullptr)
      : parameters_(std::move(parameters)),
        buffers_(std::move(buffers)),
        forward_(std::move(forward)) {
    for (size_t i = 0; i < parameters_.size(); ++i) order_.push_back(static_cast<int>(i));
  }

  absl::StatusOr<std::vector<at::Tensor>> Forward(const std::vector<at::Tensor>& inputs) override {
    ++forwards;
    if (precision_ == Precision::kBFloat16 && refuse_bfloat16)
      return absl::UnimplementedError("no bf16 here");
    return std::vector<at::Tensor>{forward_(*this, inputs.at(0))};
  }
  void set_training(bool training) override { training_ = training; }
  void set_norms_frozen(bool) override {}
  void set_precision(Precision precision) override { precision_ = precision; }
  Precision precision() const override { return precision_; }
  void set_value_observer(ValueObserver) override {}
  void set_value_transform(ValueTransform) override {}
  void set_dropout_key(uint64_t, uint64_t, uint64_t) override {}
  const std::vector<NamedTensor>& parameters() const override { return parameters_; }
  const std::vector<NamedTensor>& buffers() const override { return buffers_; }
  void PutInRange() override {}
  const std::vector<int>& forward_order() const override { return order_; }
  const Graph& graph() const override { return graph_; }
  Graph ExportGraph() const override { return graph_; }

  bool training() const { return training_; }

  int forwards = 0;
  bool refuse_bfloat16 = false;

 private:
  std::vector<NamedTensor> parameters_, buffers_;
  ForwardFunction forward_;
  std::vector<int> order_;
  Graph graph_;
  bool training_ = false;
  Precision precision_ = Precision::kFloat32;
};

}  // namespace ds
