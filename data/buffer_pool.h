// Recycles the memory of batches: large blocks fresh from the system cost a page fault every 4 KiB,
// as much time as filling them.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "base/tensor/tensor.h"

namespace ds {

class BufferPool : public std::enable_shared_from_this<BufferPool> {
 public:
  // A tensor with undefined contents. Its memory comes back to the pool when its last copy goes,
  // also after the pool's owner let go of it. Thread-safe.
  Tensor Take(DType dtype, Shape shape);

 private:
  struct Aligned {
    void operator()(std::byte* bytes) const;
  };
  struct Buffer {
    std::unique_ptr<std::byte, Aligned> bytes;
    size_t capacity = 0;
  };

  void Return(Buffer buffer);

  Mutex mutex_;
  std::vector<Buffer> free_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ds
