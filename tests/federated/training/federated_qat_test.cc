// Quantisation-aware training over sites: ranges are calibrated by all of them, steps are trained
// and averaged, and the integer file that comes out is as good as the model.
#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/training/small_run.h"

namespace ds::federated {
namespace {

FederatedTask QatTask(int bits) {
  FederatedTask task = SmallTask();
  QuantizationConfig& quantization = task.train.quantization;
  quantization.mode = "qat";
  quantization.start_epoch = 3;
  quantization.freeze_epochs = 1;
  quantization.quantizer.options.bits = quantization.quantizer.options.activation_bits = bits;
  quantization.quantizer.samples = 64;
  return task;
}

RunOptions Rounds(int64_t rounds) {
  RunOptions options;
  options.round.rounds = rounds;
  return options;
}

class FederatedQat : public ::testing::TestWithParam<int> {};

TEST_P(FederatedQat, TheExportIsAsGoodAsWhatWasTrained) {
  constexpr int64_t kRounds = 6;
  SmallRun run(QatTask(GetParam()), Rounds(kRounds), 2);
  const ModelLayout& layout = run.evaluator().model().layout;
  const auto steps = [&] {
    std::vector<float> values;
    int64_t offset = 0;
    for (const ModelSlot& slot : layout.slots) {
      const bool step = slot.name.ends_with(".step") || slot.name.ends_with(".zero_point");
      for (int64_t k = 0; step && k < slot.count; ++k)
        values.push_back(run.weights()[static_cast<size_t>(offset + k)]);
      offset += slot.count;
    }
    return values;
  };
  ASSERT_FALSE(steps().empty());
  EXPECT_THAT(steps(), ::testing::Each(0.0f));
  for (int64_t round = 0; round < 3; ++round) ASSERT_TRUE(run.Round(round));
  const std::vector<float> calibrated = steps();
  EXPECT_THAT(calibrated, ::testing::Contains(::testing::Ne(0.0f)));
  for (int64_t round = 3; round < kRounds; ++round) ASSERT_TRUE(run.Round(round));
  EXPECT_NE(steps(), calibrated) << "steps are trained";
  const double trained = run.Accuracy(kRounds);
  EXPECT_GT(trained, 0.85);

  TempFolder folder;
  const auto files = run.evaluator().WriteModels(run.weights(), folder.path());
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_EQ(files->size(), 1u);
  EXPECT_NEAR(files->front().accuracy, trained, 0.035);
  EXPECT_EQ(files->front().bits, GetParam());
  for (const char* file : {"model.onnx", "model.safetensors"})
    EXPECT_TRUE(std::filesystem::exists(folder.path() + "/" + file)) << file;
}

INSTANTIATE_TEST_SUITE_P(Bits, FederatedQat, ::testing::Values(4, 8));

TEST(FederatedPtq, TheServerCalibratesWhatTheTaskAsksFor) {
  FederatedTask task = SmallTask();
  task.train.quantization.mode = "ptq";
  task.train.quantization.exports = {"w8a8", "w4a8"};
  task.train.quantization.quantizer.samples = 64;
  SmallRun run(task, Rounds(4), 2);
  for (int64_t round = 0; round < 4; ++round) ASSERT_TRUE(run.Round(round));
  TempFolder folder;
  const auto files = run.evaluator().WriteModels(run.weights(), folder.path());
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_EQ(files->size(), 2u);
  EXPECT_EQ(files->front().file, "model-w8a8.onnx");
  EXPECT_NEAR(files->front().accuracy, run.Accuracy(4), 0.035);
}

}  // namespace
}  // namespace ds::federated
