#include "tests/trainer/sync/sync_testing.h"

#include <string>
#include <thread>
#include <utility>

#include "ATen/Parallel.h"
#include "ATen/core/grad_mode.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "comm/inprocess/inprocess.h"
#include "graph/builder.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

std::unique_ptr<GraphModule> Module(Builder& builder) {
  absl::StatusOr<Graph> graph = builder.Finish();
  EXPECT_TRUE(graph.ok()) << graph.status();
  absl::StatusOr<std::unique_ptr<GraphModule>> module = GraphModule::Create(*std::move(graph));
  EXPECT_TRUE(module.ok()) << module.status();
  (*module)->set_training(true);
  return *std::move(module);
}

class WatchedCommunicator final : public Communicator {
 public:
  WatchedCommunicator(std::unique_ptr<Communicator> inner, Watcher& watcher)
      : inner_(std::move(inner)), watcher_(watcher) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  absl::string_view backend() const override { return inner_->backend(); }
  absl::Status AllReduce(MutableBuffer buffer, ReduceOp op) override {
    return Count([&] { return inner_->AllReduce(buffer, op); });
  }
  absl::Status Broadcast(absl::Span<std::byte> bytes, int root) override {
    return inner_->Broadcast(bytes, root);
  }
  absl::Status AllGather(absl::Span<const std::byte> input, absl::Span<std::byte> output) override {
    return inner_->AllGather(input, output);
  }
  absl::Status Exchange(absl::Span<const absl::Span<const std::byte>> send,
                        absl::Span<const absl::Span<std::byte>> receive) override {
    return Count([&] { return inner_->Exchange(send, receive); });
  }
  absl::Status Barrier() override { return inner_->Barrier(); }
  absl::Duration timeout() const override { return inner_->timeout(); }
  void set_timeout(absl::Duration timeout) override { inner_->set_timeout(timeout); }
  WireStats wire_stats() const override { return inner_->wire_stats(); }
  absl::StatusOr<std::unique_ptr<Communicator>> Duplicate() override {
    DS_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> copy, inner_->Duplicate());
    return Watch(std::move(copy), watcher_);
  }
  absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) override {
    DS_ASSIGN_OR_RETURN(std::unique_ptr<Communicator> part, inner_->Split(color, key));
    return part == nullptr ? nullptr : Watch(std::move(part), watcher_);
  }

 private:
  template <typename Call>
  absl::Status Count(const Call& call) {
    if (watcher_.calls >= watcher_.fail_after) return absl::DataLossError("the cable was cut");
    DS_RETURN_IF_ERROR(call());
    ++watcher_.calls;
    return absl::OkStatus();
  }

  std::unique_ptr<Communicator> inner_;
  Watcher& watcher_;
};

}  // namespace

void RunRanks(
    int world,
    const std::function<void(int rank, std::unique_ptr<Communicator> communicator)>& body) {
  at::set_num_threads(1);
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(world);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < world; ++rank) {
    threads.emplace_back(
        [&body, rank, communicator = std::move(group[static_cast<size_t>(rank)])]() mutable {
          communicator->set_timeout(absl::Seconds(20));
          body(rank, std::move(communicator));
        });
  }
  for (std::thread& thread : threads) thread.join();
}

std::unique_ptr<GraphModule> ExactModule() {
  Builder builder("exact");
  const ValueId x = builder.Input("x", DType::kFloat32, {kDynamicDim, kIn});
  const ValueId hidden = builder.Relu(builder.Linear(x, "fc1", kHidden));
  builder.Output(builder.Linear(hidden, "fc2", kOut), "y");
  builder.Output(builder.Linear(x, "side", kOut), "unused");
  std::unique_ptr<GraphModule> module = Module(builder);
  at::NoGradGuard no_grad;
  for (const NamedTensor& parameter : module->parameters()) {
    const at::Tensor tensor = parameter.tensor;
    tensor.fill_(parameter.name == "fc1.bias" ? 2 : 1);
  }
  return module;
}

float ExactGradient(const std::string& parameter, int64_t rows) {
  if (absl::StartsWith(parameter, "side")) return 0;
  float per_row = 1;                                                     // fc2.bias
  if (parameter == "fc2.weight") per_row = static_cast<float>(kIn + 2);  // what fc1 gives
  if (absl::StartsWith(parameter, "fc1"))
    per_row = static_cast<float>(kOut);  // the sum over fc2's ones; x is 1
  return per_row * static_cast<float>(rows);
}

std::unique_ptr<GraphModule> DeepModule(uint64_t seed) {
  Builder builder("deep", seed);
  ValueId x = builder.Input("x", DType::kFloat32, {kDynamicDim, kDeepWidth});
  for (int layer = 0; layer < 8; ++layer)
    x = builder.Relu(builder.Linear(x, absl::StrCat("fc", layer), kDeepWidth));
  builder.Output(x, "y");
  return Module(builder);
}

void Backward(GraphModule& module, const at::Tensor& input, double factor) {
  absl::StatusOr<std::vector<at::Tensor>> outputs = module.Forward({input});
  ASSERT_TRUE(outputs.ok()) << outputs.status();
  (outputs->front().sum() * factor).backward();
}

std::vector<float> Gradients(const GraphModule& module) {
  std::vector<float> all;
  for (const NamedTensor& parameter : module.parameters()) {
    const at::Tensor& gradient = parameter.tensor.grad();
    const at::Tensor values =
        gradient.defined() ? gradient.contiguous() : at::zeros_like(parameter.tensor);
    all.insert(all.end(), values.data_ptr<float>(), values.data_ptr<float>() + values.numel());
  }
  return all;
}

std::unique_ptr<Communicator> Watch(std::unique_ptr<Communicator> inner, Watcher& watcher) {
  return std::make_unique<WatchedCommunicator>(std::move(inner), watcher);
}

}  // namespace ds
