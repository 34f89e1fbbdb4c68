// The way of bytes in ordinary host memory to a device and back: a pinned block, which the device
// copies without the processor, and a block on the device, from and into which NCCL sends and
// receives.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "comm/nccl/device_api.h"

namespace ds {

// Memory is allocated on the device that is selected when Reserve is called. Threads: one at a
// time.
class Staging {
 public:
  // Each message begins at a multiple of this: what NCCL's fastest copies want.
  static constexpr size_t kAlignment = 128;

  explicit Staging(std::shared_ptr<DeviceApi> api) : api_(std::move(api)) {}
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // At least `bytes` in both blocks; what they held is lost. Nothing may be under way. Blocks
  // double, and the smaller ones stay until the destructor: freeing waits for the whole device, for
  // other communicators' work too. So up to twice the largest call is held.
  absl::Status Reserve(size_t bytes);
  // Valid after Reserve of more than 0 bytes.
  std::byte* host() { return blocks_.back().host; }
  std::byte* device() { return blocks_.back().device; }
  // The device may still write here for ever: never free it.
  void Leak() { blocks_.clear(); }

 private:
  struct Block {
    size_t bytes;
    std::byte* host;
    std::byte* device;
  };

  std::shared_ptr<DeviceApi> api_;
  std::vector<Block> blocks_;
};

}  // namespace ds
