#include "comm/nccl/staging.h"

#include <algorithm>

#include "base/status.h"

namespace ds {
namespace {

constexpr size_t kSmallestBlock = size_t{64} << 10;

}  // namespace

Staging::~Staging() {
  for (const Block& block : blocks_) {
    api_->Free(block.host, MemoryKind::kPinnedHost);
    api_->Free(block.device, MemoryKind::kDevice);
  }
}

absl::Status Staging::Reserve(size_t bytes) {
  if (bytes == 0 || (!blocks_.empty() && bytes <= blocks_.back().bytes)) return absl::OkStatus();
  Block block = {};
  block.bytes = std::max({bytes, kSmallestBlock, blocks_.empty() ? 0 : 2 * blocks_.back().bytes});
  DS_ASSIGN_OR_RETURN(block.host, api_->Allocate(block.bytes, MemoryKind::kPinnedHost));
  absl::StatusOr<std::byte*> device = api_->Allocate(block.bytes, MemoryKind::kDevice);
  if (!device.ok()) {
    api_->Free(block.host, MemoryKind::kPinnedHost);
    return std::move(device).status();
  }
  block.device = *device;
  blocks_.push_back(block);
  return absl::OkStatus();
}

}  // namespace ds
