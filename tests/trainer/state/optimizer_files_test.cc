// Each rank's optimiser, to a checkpoint and back.
#include <cstring>
#include <functional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "comm/inprocess/inprocess.h"
#include "gtest/gtest.h"
#include "trainer/state/exchange_state.h"

namespace ds {
namespace {

void OnRanks(int world, const std::function<void(int rank, Communicator& communicator)>& body) {
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(world);
  std::vector<std::thread> threads;
  for (int r = 0; r < world; ++r) {
    threads.emplace_back([&, r] { body(r, *group[static_cast<size_t>(r)]); });
  }
  for (std::thread& thread : threads) thread.join();
}

constexpr int64_t kElements = 101;

float Momentum(int rank, int64_t i) {
  return 0.37f * static_cast<float>(rank + 1) + 0.01f * static_cast<float>(i * i);
}

TensorMap StateOf(int rank) {
  TensorMap state;
  state["momentum/fc.weight"] = *Tensor::Create(DType::kFloat32, {kElements});
  auto* values = reinterpret_cast<float*>(state["momentum/fc.weight"].mutable_data());
  for (int64_t i = 0; i < kElements; ++i) values[i] = Momentum(rank, i);
  state["momentum/empty"] = *Tensor::Create(DType::kFloat32, {0, 3});
  state["step"] = *Tensor::Create(DType::kInt64, {});
  const int64_t steps = (int64_t{1} << 40) + 3 * rank;  // beyond what a float counts
  std::memcpy(state["step"].mutable_data(), &steps, sizeof(steps));
  return state;
}

const float* Values(const Tensor& tensor) { return reinterpret_cast<const float*>(tensor.data()); }

int64_t StepOf(const TensorMap& state) {
  int64_t steps = 0;
  std::memcpy(&steps, state.at("step").data(), sizeof(steps));
  return steps;
}

Checkpoint Written(int world) {
  Checkpoint checkpoint;
  checkpoint.tensors["optimizer"] = StateOf(0);
  checkpoint.tensors["model"];
  OnRanks(world, [&](int rank, Communicator& communicator) {
    Checkpoint other;
    const absl::Status status =
        GatherOptimizers(StateOf(rank), communicator, rank == 0 ? &checkpoint : &other);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_TRUE(other.tensors.empty()) << "a checkpoint was touched on rank " << rank;
  });
  EXPECT_EQ(checkpoint.tensors.size(), static_cast<size_t>(world) + 1)
      << "one a rank, and the model";
  EXPECT_FALSE(checkpoint.tensors.contains("optimizer"));
  return checkpoint;
}

std::vector<TensorMap> Read(const Checkpoint& checkpoint, bool own, int world) {
  std::vector<TensorMap> states(static_cast<size_t>(world));
  OnRanks(world, [&](int rank, Communicator& communicator) {
    absl::StatusOr<TensorMap> state =
        ScatterOptimizers(rank == 0 ? checkpoint : Checkpoint(), own, communicator);
    ASSERT_TRUE(state.ok()) << state.status();
    states[static_cast<size_t>(rank)] = *std::move(state);
  });
  return states;
}

TEST(OptimizerFiles, TheSameRanksGetTheirOwnBack) {
  for (int world : {1, 2, 3, 5}) {
    const std::vector<TensorMap> states = Read(Written(world), /*own=*/true, world);
    for (int rank = 0; rank < world; ++rank) {
      const TensorMap& state = states[static_cast<size_t>(rank)];
      ASSERT_EQ(state.size(), 3u);
      EXPECT_EQ(StepOf(state), StepOf(StateOf(rank)));
      EXPECT_EQ(state.at("momentum/empty").shape(), Shape({0, 3}));
      for (int64_t i = 0; i < kElements; ++i) {
        ASSERT_EQ(Values(state.at("momentum/fc.weight"))[i], Momentum(rank, i))
            << "rank " << rank << " of " << world;
      }
    }
  }
}

TEST(OptimizerFiles, AnotherNumberOfRanksAndRunsWithoutLocalStepsGetTheMean) {
  struct Case {
    int before, after;
    bool own;
  };
  for (const Case& c : {Case{2, 3, true}, Case{3, 2, true}, Case{5, 1, true}, Case{1, 4, true},
                        Case{3, 3, false}}) {
    for (const TensorMap& state : Read(Written(c.before), c.own, c.after)) {
      for (int64_t i = 0; i < kElements; ++i) {
        double mean = 0;
        for (int rank = 0; rank < c.before; ++rank)
          mean += static_cast<double>(Momentum(rank, i)) / c.before;
        ASSERT_FLOAT_EQ(Values(state.at("momentum/fc.weight"))[i], static_cast<float>(mean))
            << c.before << " to " << c.after;
      }
      // (3 (before - 1) / 2, halves rounded up.
      EXPECT_EQ(StepOf(state), (int64_t{1} << 40) + (3 * (c.before - 1) + 1) / 2);
    }
  }
}

TEST(OptimizerFiles, ACheckpointWithOneForAllGivesNothing) {
  Checkpoint checkpoint;
  checkpoint.tensors["optimizer"] = StateOf(0);
  for (const TensorMap& state : Read(checkpoint, /*own=*/true, 3)) EXPECT_TRUE(state.empty());
}

TEST(OptimizerFiles, ADamagedSetIsAnErrorOnEveryRank) {
  Checkpoint gap = Written(3), named = Written(2), lacking = Written(3), shaped = Written(3),
             typed = Written(3);
  gap.tensors.erase("optimizer-1");
  named.tensors["optimizer-x"] = named.tensors["optimizer-1"];
  lacking.tensors["optimizer-2"].erase("step");
  shaped.tensors["optimizer-2"]["momentum/fc.weight"] =
      *Tensor::Create(DType::kFloat32, {kElements - 1});
  for (int rank = 0; rank < 3; ++rank)
    typed.tensors[absl::StrCat("optimizer-", rank)]["step"] = *Tensor::Create(DType::kUInt8, {});
  for (const Checkpoint* checkpoint : {&gap, &named, &lacking, &shaped, &typed}) {
    OnRanks(2, [&](int rank, Communicator& communicator) {
      const absl::Status status =
          ScatterOptimizers(rank == 0 ? *checkpoint : Checkpoint(), /*own=*/true, communicator)
              .status();
      EXPECT_EQ(status.code(), rank == 0 ? absl::StatusCode::kDataLoss : absl::StatusCode::kAborted)
          << status;
    });
  }
}

}  // namespace
}  // namespace ds
