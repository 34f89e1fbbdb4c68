#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "tests/comm/nccl/fake_world.h"

namespace ds {
namespace {

FakeStream* Raw(DeviceStream stream) { return reinterpret_cast<FakeStream*>(stream); }

// Two mappings of the same bytes: one that must not be touched, one that can.
void MapTwice(size_t bytes, std::byte** closed, std::byte** open) {
  const int file = memfd_create("fake device", 0);
  DS_CHECK(file >= 0 && ftruncate(file, static_cast<off_t>(bytes)) == 0);
  void* first = mmap(nullptr, bytes, PROT_NONE, MAP_SHARED, file, 0);
  void* second = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  DS_CHECK(first != MAP_FAILED && second != MAP_FAILED);
  close(file);
  *closed = static_cast<std::byte*>(first);
  *open = static_cast<std::byte*>(second);
}

class FakeDevice final : public DeviceApi {
 public:
  FakeDevice(std::shared_ptr<FakeWorld> world, int rank) : world_(std::move(world)), rank_(rank) {}

  absl::StatusOr<int> Count() override {
    std::lock_guard lock(world_->mutex);
    DS_RETURN_IF_ERROR(world_->Enter(rank_, "Count", ""));
    const int count = world_->device_counts[static_cast<size_t>(rank_)];
    if (count == 0) return absl::UnavailableError("no device is detected");
    return count;
  }

  absl::StatusOr<std::string> BusId(int device) override {
    std::lock_guard lock(world_->mutex);
    DS_RETURN_IF_ERROR(world_->Enter(rank_, "BusId", ""));
    return absl::StrCat("0000:0", device, ":00.0");
  }

  absl::StatusOr<int> Selected() override {
    std::lock_guard lock(world_->mutex);
    DS_RETURN_IF_ERROR(world_->Enter(rank_, "Selected", ""));
    return world_->SelectedBy(rank_);
  }

  absl::Status Select(int device) override {
    std::lock_guard lock(world_->mutex);
    DS_RETURN_IF_ERROR(world_->Enter(rank_, "Select", ""));
    world_->selected[{rank_, std::this_thread::get_id()}] = device;
    return absl::OkStatus();
  }

  absl::StatusOr<MemoryPlace> Place(const std::byte* address) override {
    std::lock_guard lock(world_->mutex);
    DS_RETURN_IF_ERROR(world_->Enter(rank_, "Place", ""));
    const FakeBlock* block = world_->Find(address, 1, nullptr);
    if (block == nullptr || block->kind == MemoryKind::kPinnedHost) return MemoryPlace{};
    return MemoryPlace{true, block->device};
  }

  absl::StatusOr<std::byte*> Allocate(size_t bytes, MemoryKind kind) override {
    std::lock_guard lock(world_->mutex);
    DS_RETURN_IF_ERROR(world_->Enter(rank_, "Allocate", ""));
    FakeBlock block = {bytes, kind, rank_, world_->SelectedBy(rank_), nullptr};
    std::byte* address = nullptr;
    if (kind == MemoryKind::kDevice) {
      MapTwice(bytes, &address, &block.view);
    } else {
      address = block.view =
          static_cast<std::byte*>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
    }
    world_->blocks[address] = block;
    return address;
  }

  void Free(std::byte* memory, MemoryKind kind) override {
    std::lock_guard lock(world_->mutex);
    const auto found = world_->blocks.find(memory);
    if (found == world_->blocks.end() || found->second.kind != kind)
      return world_->Violation(rank_, "frees what it does not have");
    if (kind == MemoryKind::kDevice) {
      munmap(memory, found->second.bytes);
      munmap(found->second.view, found->second.bytes);
    } else {
      std::free(memory);
    }
    world_->blocks.erase(found);
  }

  absl::StatusOr<DeviceStream> CreateStream() override {
    std::lock_guard lock(world_->mutex);
    DS_RETURN_IF_ERROR(world_->Enter(rank_, "CreateStream", ""));
    auto stream = std::make_unique<FakeStream>();
    stream->rank = rank_;
    stream->device = world_->SelectedBy(rank_);
    stream->worker =
        std::thread([world = world_.get(), raw = stream.get()] { world->RunStream(raw); });
    world_->streams.push_back(std::move(stream));
    return reinterpret_cast<DeviceStream>(world_->streams.back().get());
  }

  void DestroyStream(DeviceStream stream) override {
    {
      std::lock_guard lock(world_->mutex);
      if (Raw(stream)->busy || !Raw(stream)->work.empty())
        world_->Violation(rank_, "destroys a stream that works");
      Raw(stream)->closing = true;
      world_->changed.notify_all();
    }
    Raw(stream)->worker.join();
  }

  absl::Status CopyAsync(std::byte* to, const std::byte* from, size_t bytes,
                         DeviceStream stream) override {
    std::lock_guard lock(world_->mutex);
    DS_RETURN_IF_ERROR(world_->Enter(rank_, "CopyAsync", absl::StrCat("Copy ", bytes)));
    std::byte *into = nullptr, *out_of = nullptr;
    if (world_->Find(to, bytes, &into) == nullptr ||
        world_->Find(from, bytes, &out_of) == nullptr) {
      world_->Violation(rank_, "copies memory that is neither pinned nor on a device");
      return absl::InternalError("bad copy");
    }
    if (Raw(stream)->device != world_->SelectedBy(rank_))
      world_->Violation(rank_, "copies with another device selected");
    world_->Enqueue(Raw(stream), [into, out_of, bytes] { std::memcpy(into, out_of, bytes); });
    return absl::OkStatus();
  }

  absl::StatusOr<bool> Idle(DeviceStream stream) override {
    std::lock_guard lock(world_->mutex);
    DS_RETURN_IF_ERROR(world_->Enter(rank_, "Idle", ""));
    return !Raw(stream)->busy && Raw(stream)->work.empty();
  }

 private:
  const std::shared_ptr<FakeWorld> world_;
  const int rank_;
};

}  // namespace

std::shared_ptr<DeviceApi> MakeFakeDevice(std::shared_ptr<FakeWorld> world, int rank) {
  return std::make_shared<FakeDevice>(std::move(world), rank);
}

}  // namespace ds
