// Ranks on a FakeCluster, each on a thread of its own.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/inprocess/inprocess.h"
#include "comm/nccl/nccl_communicator.h"
#include "tests/comm/nccl/fake_cluster.h"

namespace ds {

// Runs `body(rank)` on a thread a rank and waits for all.
inline void OnAllRanks(int ranks, const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) threads.emplace_back(body, r);
  for (std::thread& thread : threads) thread.join();
}

using NcclResults = std::vector<absl::StatusOr<std::unique_ptr<Communicator>>>;

// What the factory gives each rank; `options` of rank r come from `options_of(r)`.
inline NcclResults CreateNcclGroup(FakeCluster& cluster, int ranks,
                                   const std::function<NcclOptions(int)>& options_of) {
  std::vector<std::unique_ptr<Communicator>> bootstraps = CreateInProcessGroup(ranks);
  NcclResults results(static_cast<size_t>(ranks));
  OnAllRanks(ranks, [&](int r) {
    results[static_cast<size_t>(r)] = CreateNcclCommunicator(
        cluster.Runtime(r), std::move(bootstraps[static_cast<size_t>(r)]), options_of(r));
  });
  return results;
}

inline NcclResults CreateNcclGroup(FakeCluster& cluster, int ranks,
                                   const NcclOptions& options = {}) {
  return CreateNcclGroup(cluster, ranks, [&](int) { return options; });
}

// Closing is collective too.
inline void CloseAll(NcclResults& group) {
  OnAllRanks(static_cast<int>(group.size()), [&](int r) {
    auto& result = group[static_cast<size_t>(r)];
    if (result.ok()) result->reset();
  });
}

}  // namespace ds
