// The state behind FakeCluster, and its two interfaces. Private to fake_*.cc.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "comm/nccl/nccl_api.h"

namespace ds {

struct FakeBlock {
  size_t bytes = 0;
  MemoryKind kind = MemoryKind::kDevice;
  int rank = 0;
  int device = 0;
  std::byte* view = nullptr;  // where the processor reaches it
};

struct FakeStream {
  int rank = 0;
  int device = 0;
  std::deque<std::function<void()>> work;  // each runs without the lock
  bool busy = false;
  bool closing = false;
  std::thread worker;
};

struct FakeMessage {
  bool send = false;
  std::byte* memory = nullptr;  // the view
  size_t bytes = 0;
  int peer = 0;
  bool done = false;
};

struct FakeComm;

struct FakeGroup {
  int size = 0;
  std::map<int, FakeComm*> members;                                        // by rank
  std::map<std::pair<int, int>, std::deque<FakeMessage*>> sent, expected;  // by (from, to)
};

struct FakeComm {
  int rank = 0;
  int device = 0;
  std::shared_ptr<FakeGroup> group;
  enum State {
    kJoining,
    kIdle,
    kLaunching,
    kFinalizing,
    kFinalized,
    kDestroyed,
    kAborted
  } state = kJoining;
  int polls_left = 0;
  std::function<void()> launch;  // what the polls are waited for

  bool gone() const { return state == kDestroyed || state == kAborted; }
};

struct FakeOpenGroup {  // of a thread, between GroupStart and GroupEnd
  std::map<FakeComm*, std::pair<FakeStream*, std::vector<std::shared_ptr<FakeMessage>>>> messages;
};

class FakeWorld {
 public:
  FakeWorld(std::vector<int> device_counts, std::vector<std::string> hosts)
      : device_counts(std::move(device_counts)), hosts(std::move(hosts)) {}

  // All with the lock held.
  void Violation(int rank, const std::string& what) {
    violations.push_back("rank " + std::to_string(rank) + ": " + what);
  }
  // Notes the call; its injected error, if it is its turn.
  absl::Status Enter(int rank, const std::string& function, const std::string& trace);
  int SelectedBy(int rank) const;
  // The block that holds all of [address, address + bytes), or null.
  const FakeBlock* Find(const std::byte* address, size_t bytes, std::byte** view) const;
  void Enqueue(FakeStream* stream, std::function<void()> work);

  void RunStream(FakeStream* stream);  // the worker's thread
  void Shutdown();

  mutable std::mutex mutex;
  std::condition_variable changed;
  const std::vector<int> device_counts;
  const std::vector<std::string> hosts;
  bool over = false;
  std::map<std::byte*, FakeBlock> blocks;  // by the address given out
  std::vector<std::unique_ptr<FakeStream>> streams;
  std::vector<std::unique_ptr<FakeComm>> comms;
  std::map<NcclUniqueId, std::shared_ptr<FakeGroup>> groups;
  std::map<std::pair<int, std::thread::id>, int> selected;
  std::map<std::pair<int, std::thread::id>, FakeOpenGroup> open_groups;
  std::map<std::pair<int, std::string>, std::pair<int, absl::Status>> failures;
  std::map<int, absl::Status> async_errors;
  std::map<int, bool> aborts_hang, streams_hang;
  std::map<int, std::vector<std::string>> traces;
  std::vector<std::string> violations;
  uint64_t ids = 0;
};

std::shared_ptr<DeviceApi> MakeFakeDevice(std::shared_ptr<FakeWorld> world, int rank);
std::shared_ptr<NcclApi> MakeFakeNccl(std::shared_ptr<FakeWorld> world, int rank);

}  // namespace ds
