#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <thread>

#include "base/cpu/cpu_features.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/trainer/optim/optim_testing.h"
#include "trainer/optim/auto_precision.h"
#include "trainer/optim/ema.h"
#include "trainer/optim/loss.h"

namespace ds {
namespace {

constexpr double kEpsilon = std::numeric_limits<float>::epsilon();

// ---- EMA

FakeModule ModuleWithBuffers() {
  return FakeModule(TestParameters(),
                    {{"norm.mean", TestValues({19}, 40), "BatchNormalization", 3}});
}

void Change(const GraphModule& module, uint64_t step) {
  at::NoGradGuard no_grad;
  for (const auto* list : {&module.parameters(), &module.buffers()}) {
    for (const NamedTensor& entry : *list)
      entry.tensor.copy_(TestValues(entry.tensor.sizes().vec(), 77 + step));
  }
}

TEST(EmaTest, FollowsTheReferenceAndSwapsInPlace) {
  FakeModule module = ModuleWithBuffers();
  constexpr double kDecay = 0.3;
  WeightEma ema(module, kDecay);
  const at::Tensor live = module.parameters()[0].tensor;
  const void* memory = live.data_ptr();
  at::Tensor average = live.detach().to(at::kDouble),
             mean = module.buffers()[0].tensor.to(at::kDouble);
  constexpr int kUpdates = 9;
  for (int t = 0; t < kUpdates; ++t) {
    Change(module, t);
    ema.Update();
    const double decay = std::min(kDecay, (1.0 + t) / (10.0 + t));
    average = decay * average + (1 - decay) * live.detach().to(at::kDouble);
    mean = decay * mean + (1 - decay) * module.buffers()[0].tensor.to(at::kDouble);
  }
  const at::Tensor before = live.detach().clone(),
                   buffer_before = module.buffers()[0].tensor.clone();
  const double tolerance = 4 * kUpdates * kEpsilon;  // values below 1, a lerp rounds three times
  ema.Swap();
  EXPECT_EQ(live.data_ptr(), memory);
  EXPECT_TRUE(live.is_contiguous(at::MemoryFormat::ChannelsLast));
  EXPECT_LE((live.detach() - average).abs().max().item<double>(), tolerance);
  EXPECT_LE((module.buffers()[0].tensor - mean).abs().max().item<double>(), tolerance);
  EXPECT_FALSE(at::equal(live, before));
  ema.Swap();
  EXPECT_TRUE(at::equal(live, before));
  EXPECT_TRUE(at::equal(module.buffers()[0].tensor, buffer_before));
  EXPECT_TRUE(live.requires_grad());
}

TEST(EmaTest, SavedLoadedAndContinuedIsBitIdentical) {
  FakeModule module = ModuleWithBuffers();
  WeightEma straight(module, 0.999);
  for (int t = 0; t < 5; ++t) {
    Change(module, t);
    straight.Update();
  }
  Change(module, 1000);
  WeightEma resumed(module, 0.999);
  ASSERT_TRUE(resumed.LoadState(straight.State()).ok());
  for (int t = 5; t < 8; ++t) {
    Change(module, t);
    straight.Update();
    resumed.Update();
  }
  const std::map<std::string, at::Tensor> a = straight.State(), b = resumed.State();
  EXPECT_EQ(a.at("step").item<int64_t>(), 8);
  EXPECT_EQ(a.size(), module.parameters().size() + module.buffers().size() + 1);
  for (const auto& [name, tensor] : a) EXPECT_TRUE(at::equal(tensor, b.at(name))) << name;
}

TEST(EmaTest, RefusesAStateThatDoesNotFitAndChangesNothing) {
  FakeModule module = ModuleWithBuffers();
  WeightEma ema(module, 0.9);
  const std::map<std::string, at::Tensor> good = ema.State();
  const auto expect_refused = [&](std::map<std::string, at::Tensor> bad, absl::StatusCode code,
                                  const char* name) {
    bad["ema/bias"] = at::full({11}, 5.0);
    const absl::Status status = ema.LoadState(bad);
    EXPECT_EQ(status.code(), code);
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(name));
    EXPECT_TRUE(at::equal(ema.State().at("ema/bias"), good.at("ema/bias")));
  };
  auto missing = good;
  missing.erase("ema/norm.mean");
  expect_refused(missing, absl::StatusCode::kNotFound, "ema/norm.mean");
  auto misshapen = good;
  misshapen["ema/fc.weight"] = at::zeros({3});
  expect_refused(misshapen, absl::StatusCode::kInvalidArgument, "ema/fc.weight");
  auto step = good;
  step["step"] = at::zeros({2}, at::kLong);
  expect_refused(step, absl::StatusCode::kInvalidArgument, "'step'");
  auto negative = good;
  negative["step"] = at::full({}, -1, at::kLong);
  expect_refused(negative, absl::StatusCode::kInvalidArgument, "'step'");
  auto unknown = good;
  unknown["ema/other"] = at::zeros({3});
  expect_refused(unknown, absl::StatusCode::kInvalidArgument, "ema/other");
}

// ---- Precision

// A layer whose passes take the given times; it moves its buffer as BatchNorm would.
FakeModule Timed(int fp32_ms, int bf16_ms) {
  std::vector<NamedTensor> parameters = {
      {"w", TestValues({3, 2}, 1).requires_grad_(true), "Gemm", 1}};
  return FakeModule(
      parameters, {{"mean", at::zeros({1}), "BatchNormalization", 3}},
      [=](FakeModule& module, const at::Tensor& input) {
        const bool low = module.precision() == Precision::kBFloat16;
        std::this_thread::sleep_for(std::chrono::milliseconds(low ? bf16_ms : fp32_ms));
        EXPECT_TRUE(module.training()) << "a training step is what is timed";
        module.buffers()[0].tensor.add_(1);
        return input.matmul(module.parameters()[0].tensor.t());
      });
}

absl::StatusOr<PrecisionChoice> Choose(const std::string& mode, FakeModule& module) {
  return ChoosePrecision(mode, module, *Loss::Create({}), {TestValues({4, 2}, 2)},
                         at::tensor({0, 1, 2, 0}, at::kLong));
}

bool HasBfloat16() { return Cpu().avx512_bf16 || Cpu().amx_bf16; }

TEST(PrecisionTest, AsConfiguredNeedsNoProbe) {
  FakeModule module = Timed(0, 0);
  EXPECT_EQ(Choose("fp32", module)->precision, Precision::kFloat32);
  EXPECT_EQ(Choose("bf16", module)->precision, Precision::kBFloat16);
  EXPECT_EQ(Choose("fp16", module)->precision, Precision::kFloat16);
  EXPECT_EQ(module.forwards, 0);
  EXPECT_EQ(Choose("int8", module).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PrecisionName(Precision::kFloat32) + PrecisionName(Precision::kBFloat16) +
                PrecisionName(Precision::kFloat16),
            "fp32bf16fp16");
}

TEST(PrecisionTest, AutoTakesBfloat16OnlyWhereItIsFaster) {
  FakeModule faster = Timed(50, 2), slower = Timed(2, 50);
  EXPECT_EQ(Choose("auto", faster)->precision,
            HasBfloat16() ? Precision::kBFloat16 : Precision::kFloat32);
  const absl::StatusOr<PrecisionChoice> choice = Choose("auto", slower);
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_EQ(choice->precision, Precision::kFloat32) << choice->reason;
}

TEST(PrecisionTest, AutoStaysWithFloat32WhereBfloat16DoesNotRun) {
  FakeModule module = Timed(1, 1);
  module.refuse_bfloat16 = true;
  const absl::StatusOr<PrecisionChoice> choice = Choose("auto", module);
  ASSERT_TRUE(choice.ok()) << choice.status();
  EXPECT_EQ(choice->precision, Precision::kFloat32);
  EXPECT_FALSE(choice->reason.empty());
}

TEST(PrecisionTest, TheProbeLeavesNoTrace) {
  FakeModule module = Timed(1, 2);
  at::Tensor w = module.parameters()[0].tensor;
  w.mutable_grad() = TestValues({3, 2}, 9);
  const at::Tensor weight = w.detach().clone(), gradient = w.grad().clone();
  const void* memory = w.grad().data_ptr();
  for (const bool fails : {false, true}) {
    module.refuse_bfloat16 = fails;
    ASSERT_TRUE(Choose("auto", module).ok());
    EXPECT_TRUE(at::equal(w, weight));
    EXPECT_TRUE(at::equal(w.grad(), gradient));
    EXPECT_EQ(w.grad().data_ptr(), memory);
    EXPECT_EQ(module.buffers()[0].tensor.item<float>(), 0.0f);
    EXPECT_EQ(module.precision(), Precision::kFloat32);
  }
}

}  // namespace
}  // namespace ds
