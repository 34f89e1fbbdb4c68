#include "data/buffer_pool.h"

#include <new>
#include <utility>

#include "base/check.h"

namespace ds {
namespace {

constexpr std::align_val_t kAlignment{64};
constexpr size_t kMaxFree = 16;  // buffers kept; more are given back to the system

}  // namespace

void BufferPool::Aligned::operator()(std::byte* bytes) const {
  ::operator delete(bytes, kAlignment);
}

Tensor BufferPool::Take(DType dtype, Shape shape) {
  const absl::StatusOr<int64_t> count = NumElements(shape);
  DS_CHECK(count.ok()) << count.status().message();
  const size_t size = ByteSize(dtype, *count);
  Buffer buffer;
  {
    const MutexLock lock(mutex_);
    for (Buffer& candidate : free_) {
      // Neither too small nor a big block for a small tensor.
      if (candidate.capacity < size || candidate.capacity / 2 > size) continue;
      buffer = std::move(candidate);
      candidate = std::move(free_.back());
      free_.pop_back();
      break;
    }
  }
  if (buffer.bytes == nullptr) {
    buffer.capacity = size;
    buffer.bytes.reset(static_cast<std::byte*>(::operator new(size, kAlignment)));
  }
  std::byte* bytes = buffer.bytes.get();
  // The deleter holds the pool, which so outlives every tensor of it.
  auto* held = new Buffer(std::move(buffer));
  std::shared_ptr<void> owner(held, [pool = shared_from_this()](void* p) {
    std::unique_ptr<Buffer> done(static_cast<Buffer*>(p));
    pool->Return(std::move(*done));
  });
  return Tensor::Wrap(dtype, std::move(shape), bytes, std::move(owner));
}

void BufferPool::Return(Buffer buffer) {
  const MutexLock lock(mutex_);
  if (free_.size() < kMaxFree) free_.push_back(std::move(buffer));
}

}  // namespace ds
