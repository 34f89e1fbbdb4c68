// What a checkpoint takes and gives back: nothing that is lost, and no type that cannot be.
#include "trainer/state/run_state.h"

#include <cmath>

#include "ATen/core/grad_mode.h"
#include "graph/zoo/zoo.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

std::unique_ptr<GraphModule> Module() {
  return *GraphModule::Create(
      *BuildModel("resnet8", {.channels = 1, .height = 8, .width = 8, .classes = 4}));
}

absl::Status Restore(const TensorMap& tensors, const GraphModule& module) {
  Checkpoint checkpoint;
  checkpoint.tensors["model"] = tensors;
  return RestoreModule(checkpoint, "model", module);
}

TEST(RunState, ACheckpointOfAModelThatIsLostIsRefusedAndChangesNothing) {
  const auto module = Module();
  const TensorMap good = *ModuleTensors(*module);
  for (const float bad : {NAN, INFINITY}) {
    TensorMap lost = good;
    Tensor& last = lost.rbegin()->second;
    last = last.Clone();
    last.mutable_span<float>()[0] = bad;
    Tensor& first = lost.begin()->second;
    first = first.Clone();
    first.mutable_span<float>()[0] += 1;
    const absl::Status status = Restore(lost, *module);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_NE(std::string(status.message()).find(lost.rbegin()->first), std::string::npos)
        << status;
  }
  const TensorMap after = *ModuleTensors(*module);
  for (const auto& [name, tensor] : after)
    EXPECT_TRUE(
        std::equal(tensor.bytes().begin(), tensor.bytes().end(), good.at(name).bytes().begin()))
        << name;
  EXPECT_TRUE(Restore(good, *module).ok());
}

TEST(RunState, ATensorOfAnotherTypeIsAnErrorThatNamesBoth) {
  const auto module = Module();
  TensorMap odd = *ModuleTensors(*module);
  odd.begin()->second = Tensor(DType::kUInt32, odd.begin()->second.shape());
  const absl::Status status = Restore(odd, *module);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  for (const std::string& word :
       {odd.begin()->first, std::string("UInt32"), std::string("Float")}) {
    EXPECT_NE(std::string(status.message()).find(word), std::string::npos) << status;
  }
}

TEST(RunState, ARunThatIsLostIsNotCaptured) {
  const auto module = Module();
  const auto optimizer = *Optimizer::Create(module->parameters(), {});
  const auto schedule = *Schedule::Create({.total_steps = 1, .steps_per_epoch = 1});
  MixedPrecisionTrainer trainer(*module, *optimizer, *Loss::Create({}), {.precision = "fp32"});
  const at::NoGradGuard no_grad;
  at::Tensor weight = module->parameters()[0].tensor;
  weight.fill_(NAN);
  const absl::Status status =
      CaptureRun({module.get(), optimizer.get(), schedule.get(), &trainer}, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_NE(std::string(status.message()).find(module->parameters()[0].name), std::string::npos);
}

}  // namespace
}  // namespace ds
