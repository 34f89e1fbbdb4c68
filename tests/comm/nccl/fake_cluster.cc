#include "tests/comm/nccl/fake_cluster.h"

#include "absl/strings/str_cat.h"
#include "tests/comm/nccl/fake_world.h"

namespace ds {

absl::Status FakeWorld::Enter(int rank, const std::string& function, const std::string& trace) {
  if (!trace.empty()) traces[rank].push_back(trace);
  const auto failure = failures.find({rank, function});
  if (failure == failures.end() || --failure->second.first > 0) return absl::OkStatus();
  const absl::Status status = failure->second.second;
  failures.erase(failure);
  return status;
}

int FakeWorld::SelectedBy(int rank) const {
  const auto found = selected.find({rank, std::this_thread::get_id()});
  return found == selected.end() ? 0 : found->second;
}

const FakeBlock* FakeWorld::Find(const std::byte* address, size_t bytes, std::byte** view) const {
  auto after = blocks.upper_bound(const_cast<std::byte*>(address));
  if (after == blocks.begin()) return nullptr;
  const auto& [start, block] = *--after;
  const size_t offset = static_cast<size_t>(address - start);
  if (offset + bytes > block.bytes) return nullptr;
  if (view != nullptr) *view = block.view + offset;
  return &block;
}

void FakeWorld::Enqueue(FakeStream* stream, std::function<void()> work) {
  stream->work.push_back(std::move(work));
  changed.notify_all();
}

void FakeWorld::RunStream(FakeStream* stream) {
  std::unique_lock lock(mutex);
  while (true) {
    changed.wait(lock, [&] {
      return over || stream->closing || (!stream->work.empty() && !streams_hang[stream->rank]);
    });
    if (over || stream->closing) return;
    const std::function<void()> work = std::move(stream->work.front());
    stream->work.pop_front();
    stream->busy = true;
    lock.unlock();
    work();
    lock.lock();
    stream->busy = false;
    changed.notify_all();
  }
}

void FakeWorld::Shutdown() {
  {
    std::lock_guard lock(mutex);
    over = true;
    changed.notify_all();
  }
  for (const std::unique_ptr<FakeStream>& stream : streams) {
    if (stream->worker.joinable()) stream->worker.join();
  }
}

FakeCluster::FakeCluster(std::vector<int> devices_per_rank, std::vector<std::string> hosts)
    : world_(std::make_shared<FakeWorld>(std::move(devices_per_rank), std::move(hosts))) {}

FakeCluster::FakeCluster(int ranks)
    : FakeCluster(std::vector<int>(static_cast<size_t>(ranks), ranks),
                  std::vector<std::string>(static_cast<size_t>(ranks), "host")) {}

FakeCluster::~FakeCluster() { world_->Shutdown(); }

NcclRuntime FakeCluster::Runtime(int rank) {
  return {MakeFakeNccl(world_, rank), MakeFakeDevice(world_, rank)};
}

void FakeCluster::FailCall(int rank, const std::string& function, int nth,
                           const absl::Status& status) {
  std::lock_guard lock(world_->mutex);
  world_->failures[{rank, function}] = {nth, status};
}

void FakeCluster::SetAsyncError(int rank, const absl::Status& status) {
  std::lock_guard lock(world_->mutex);
  world_->async_errors[rank] = status;
}

void FakeCluster::HangAborts(int rank) {
  std::lock_guard lock(world_->mutex);
  world_->aborts_hang[rank] = true;
}

void FakeCluster::HangStreams(int rank) {
  std::lock_guard lock(world_->mutex);
  world_->streams_hang[rank] = true;
}

absl::Span<std::byte> FakeCluster::View(std::byte* device_memory) {
  std::lock_guard lock(world_->mutex);
  const FakeBlock& block = world_->blocks.at(device_memory);
  return {block.view, block.bytes};
}

std::vector<std::string> FakeCluster::Trace(int rank) const {
  std::lock_guard lock(world_->mutex);
  return world_->traces[rank];
}

std::vector<int> FakeCluster::DevicesOfCommunicators(int rank) const {
  std::lock_guard lock(world_->mutex);
  std::vector<int> devices;
  for (const std::unique_ptr<FakeComm>& comm : world_->comms) {
    if (comm->rank == rank) devices.push_back(comm->device);
  }
  return devices;
}

std::vector<std::string> FakeCluster::Violations() const {
  std::lock_guard lock(world_->mutex);
  return world_->violations;
}

std::vector<std::string> FakeCluster::Leaks() const {
  std::lock_guard lock(world_->mutex);
  std::vector<std::string> leaks;
  for (const auto& [address, block] : world_->blocks)
    leaks.push_back(absl::StrCat("memory of rank ", block.rank));
  for (const std::unique_ptr<FakeStream>& stream : world_->streams) {
    if (!stream->closing) leaks.push_back(absl::StrCat("stream of rank ", stream->rank));
  }
  for (const std::unique_ptr<FakeComm>& comm : world_->comms) {
    if (!comm->gone()) leaks.push_back(absl::StrCat("communicator of rank ", comm->rank));
  }
  for (const auto& [owner, group] : world_->open_groups)
    leaks.push_back(absl::StrCat("open group of rank ", owner.first));
  return leaks;
}

}  // namespace ds
