// Ranks as threads, and what each of them has of its own, told by its number.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "comm/compress/compressor_state.h"
#include "comm/inprocess/inprocess.h"
#include "gtest/gtest.h"
#include "trainer/state/run_checkpoint.h"

namespace ds {

inline void OnRanks(int world, const std::function<void(int rank, Communicator&)>& body) {
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(world);
  std::vector<std::thread> threads;
  for (int r = 0; r < world; ++r) {
    threads.emplace_back([&, r] { body(r, *group[static_cast<size_t>(r)]); });
  }
  for (std::thread& thread : threads) thread.join();
}

inline constexpr int64_t kElements = 101;
inline const std::string kWorkerKey = StateKey(kWorkerResidual, "layer.weight", 0);

// Residuals as a rank of `world` has them: its own of the whole parameter, and an owner's of its
// share.
inline CompressorState ResidualsOf(int rank, int world) {
  CompressorState state;
  std::vector<float>& worker = state[kWorkerKey];
  for (int64_t i = 0; i < kElements; ++i)
    worker.push_back(0.1f * static_cast<float>(rank + 1) + 0.01f * static_cast<float>(i));
  const int64_t begin = kElements * rank / world, end = kElements * (rank + 1) / world;
  std::vector<float>& owner = state[StateKey(kOwnerResidual, "layer.weight", begin)];
  for (int64_t i = begin; i < end; ++i) owner.push_back(-0.003f * static_cast<float>(i));
  state[StateKey(kFactor, "layer.weight", 0)] = {1, 2, 3};
  return state;
}

inline float Momentum(int rank, int64_t i) {
  return 0.37f * static_cast<float>(rank + 1) + 0.01f * static_cast<float>(i * i);
}

// Counts beyond what a float holds.
inline constexpr int64_t kManySteps = int64_t{1} << 40;

inline TensorMap OptimizerOf(int rank) {
  TensorMap state;
  std::vector<float> momentum;
  for (int64_t i = 0; i < kElements; ++i) momentum.push_back(Momentum(rank, i));
  state["momentum/fc.weight"] = Tensor::From<float>({kElements}, momentum);
  state["momentum/empty"] = Tensor(DType::kFloat32, {0, 3});
  state["step"] = Tensor::Scalar<int64_t>(kManySteps + 3 * rank);
  return state;
}

inline Checkpoint SharedOf(int64_t mark) {
  Checkpoint shared;
  shared.tensors["model"]["w"] = Tensor::From<float>({3}, {static_cast<float>(mark), 1.5f, -2.0f});
  shared.tensors["optimizer"]["step"] = Tensor::Scalar<int64_t>(mark);
  shared.state_json = "{\"version\": 1}";
  return shared;
}

inline int64_t MarkOf(const RunCheckpoint& read) {
  return static_cast<int64_t>(read.shared.tensors.at("model").at("w").span<float>()[0]);
}

}  // namespace ds
