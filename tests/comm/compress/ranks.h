// Runs a function on every rank of an in-process group, each on a thread of its own.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "comm/inprocess/inprocess.h"

namespace ds {

inline void OnEveryRank(int ranks, const std::function<void(Communicator&)>& work) {
  std::vector<std::unique_ptr<Communicator>> group = CreateInProcessGroup(ranks);
  std::vector<std::thread> threads;
  for (std::unique_ptr<Communicator>& communicator : group) {
    communicator->set_timeout(absl::Seconds(60));
    threads.emplace_back([&work, &communicator] {
      work(*communicator);
      communicator.reset();  // whoever ends early does not make the others wait for their deadline
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace ds
