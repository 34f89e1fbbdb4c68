// What the NCCL backend asks of an accelerator, as an interface: CreateNcclRuntime's implementation
// calls the CUDA runtime, that of the tests simulates a device on the host. Errors carry the
// library's own words.
//
// Threads: any, but like CUDA's the selected device is a property of the calling thread.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ds {

// A queue of work on one device; owned by whoever created it.
using DeviceStream = struct DeviceStreamHandle*;

enum class MemoryKind { kPinnedHost, kDevice };

struct MemoryPlace {
  bool on_device = false;  // false: the processor can reach it (ordinary, pinned or managed memory)
  int device = 0;          // meaningful if on_device
};

class DeviceApi {
 public:
  virtual ~DeviceApi() = default;

  // Devices that this process sees. Unavailable where there is no driver or no device.
  virtual absl::StatusOr<int> Count() = 0;
  // "0000:3b:00.0": names the same device to every process of a host, whichever of them it sees.
  virtual absl::StatusOr<std::string> BusId(int device) = 0;
  virtual absl::StatusOr<int> Selected() = 0;
  virtual absl::Status Select(int device) = 0;

  virtual absl::StatusOr<MemoryPlace> Place(const std::byte* address) = 0;
  // At least 256-byte aligned; on the selected device. ResourceExhausted if there is no more.
  virtual absl::StatusOr<std::byte*> Allocate(size_t bytes, MemoryKind kind) = 0;
  // May wait for everything that runs on the device.
  virtual void Free(std::byte* memory, MemoryKind kind) = 0;

  virtual absl::StatusOr<DeviceStream> CreateStream() = 0;
  virtual void DestroyStream(DeviceStream stream) = 0;
  // Enqueues a copy between pinned host memory and the device, either way, or within the device.
  // Both must live until the stream is idle.
  virtual absl::Status CopyAsync(std::byte* to, const std::byte* from, size_t bytes,
                                 DeviceStream stream) = 0;
  // Has everything that was enqueued been done? Never waits. An error of that work comes back here.
  virtual absl::StatusOr<bool> Idle(DeviceStream stream) = 0;
};

}  // namespace ds
