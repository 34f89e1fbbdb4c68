// What the gradient synchroniser's tests share: ranks as threads, a network whose gradients are
// known in closed form, and a communicator that watches or breaks.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "ATen/ATen.h"
#include "comm/communicator.h"
#include "executor/graph_module.h"
#include "trainer/sync/gradient_synchronizer.h"

namespace ds {

// Calls `body` on `world` threads, one a rank, each with its communicator of an in-process group,
// whose calls end after 20 s. A rank's communicator goes when its body returns: the others notice.
void RunRanks(
    int world,
    const std::function<void(int rank, std::unique_ptr<Communicator> communicator)>& body);

// x [N, kIn] -> fc1 -> relu -> fc2 -> output 0; x -> side -> output 1. All weights are 1, fc1's
// bias 2, so that all is a small integer: with x = 1, fc1 gives kIn + 2.
constexpr int64_t kIn = 5, kHidden = 7, kOut = 3;
std::unique_ptr<GraphModule> ExactModule();
// d(sum of output 0)/d(parameter) for `rows` rows of ones, the same for all elements of a
// parameter; 0 for `side`.
float ExactGradient(const std::string& parameter, int64_t rows);

// Eight layers of equal size with random weights.
std::unique_ptr<GraphModule> DeepModule(uint64_t seed);
constexpr int64_t kDeepWidth = 16;

// Forward on `input` and backward from the sum of the first output times `factor`.
void Backward(GraphModule& module, const at::Tensor& input, double factor = 1);

// All gradients in the order of the parameters, as one tensor's bits; parameters without one count
// as zeros.
std::vector<float> Gradients(const GraphModule& module);

// What communicators made by Watch() do, its duplicates included.
struct Watcher {
  std::atomic<int> calls =
      0;  // all-reduces and exchanges that have ended well: two for a bucket, one for the flag
  std::atomic<int> fail_after = 1 << 30;  // that many succeed, then each fails
};
// `watcher` must outlive it.
std::unique_ptr<Communicator> Watch(std::unique_ptr<Communicator> inner, Watcher& watcher);

}  // namespace ds
