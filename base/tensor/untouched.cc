#include "base/tensor/untouched.h"

#include <sys/mman.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {

absl::StatusOr<Tensor> UntouchedTensor(DType dtype, Shape shape) {
  DS_ASSIGN_OR_RETURN(const int64_t count, NumElements(shape));
  const auto size = static_cast<size_t>(std::max<int64_t>(ByteSize(dtype, count), 1));
  void* pages = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (pages == MAP_FAILED) {
    return absl::ResourceExhaustedError(absl::StrCat("no address space for a ", Name(dtype),
                                                     " tensor of shape ", ShapeString(shape)));
  }
  std::shared_ptr<void> owner(pages, [size](void* p) { ::munmap(p, size); });
  return Tensor::Wrap(dtype, std::move(shape), static_cast<std::byte*>(pages), std::move(owner));
}

}  // namespace ds
