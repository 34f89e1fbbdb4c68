#include "trainer/buffer_snapshot.h"

#include <cmath>
#include <cstring>

#include "absl/types/span.h"
#include "base/check.h"
#include "comm/finite.h"

namespace ds {
namespace {

template <typename T>
bool AllFiniteOf(const std::byte* from, size_t bytes) {
  // Copied: the snapshot's bytes are not aligned.
  std::vector<T> values(bytes / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), from, bytes);
  for (const T value : values) {
    if (!std::isfinite(value)) return false;
  }
  return true;
}

bool FiniteBytes(const at::Tensor& like, const std::byte* from) {
  if (like.scalar_type() == at::kDouble) return AllFiniteOf<double>(from, like.nbytes());
  return like.scalar_type() != at::kFloat || AllFiniteOf<float>(from, like.nbytes());
}

// The common case, without a copy.
bool FiniteNow(const at::Tensor& buffer) {
  if (buffer.scalar_type() != at::kFloat)
    return FiniteBytes(buffer, static_cast<const std::byte*>(buffer.const_data_ptr()));
  return AllFinite({buffer.const_data_ptr<float>(), static_cast<size_t>(buffer.numel())});
}

}  // namespace

BufferSnapshot::BufferSnapshot(const GraphModule& module) : buffers_(module.buffers()) {
  size_t size = 0;
  for (const NamedTensor& buffer : buffers_) {
    DS_CHECK(buffer.tensor.is_non_overlapping_and_dense()) << buffer.name << " is not dense";
    size += buffer.tensor.nbytes();
  }
  bytes_.resize(size);
  Take();
}

void BufferSnapshot::Take() {
  std::byte* at = bytes_.data();
  for (const NamedTensor& buffer : buffers_) {
    if (buffer.tensor.nbytes() > 0)
      std::memcpy(at, buffer.tensor.const_data_ptr(), buffer.tensor.nbytes());
    at += buffer.tensor.nbytes();
  }
}

void BufferSnapshot::Restore() {
  const std::byte* at = bytes_.data();
  for (const NamedTensor& buffer : buffers_) {
    if (buffer.tensor.nbytes() > 0)
      std::memcpy(buffer.tensor.mutable_data_ptr(), at, buffer.tensor.nbytes());
    at += buffer.tensor.nbytes();
  }
}

bool BufferSnapshot::LostFiniteness() const {
  const std::byte* at = bytes_.data();
  for (const NamedTensor& buffer : buffers_) {
    if (!FiniteNow(buffer.tensor) && FiniteBytes(buffer.tensor, at)) return true;
    at += buffer.tensor.nbytes();
  }
  return false;
}

}  // namespace ds
