#include "tests/executor/guarded_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "c10/core/Allocator.h"

namespace ds {

namespace {

constexpr size_t kAlignment = 64;
constexpr unsigned char kFilling = 0xFF;  // four of them are a NaN
constexpr unsigned char kSlack = 0xA5;

size_t RoundUp(size_t size, size_t unit) { return (size + unit - 1) / unit * unit; }

// A block: one page with this header, one that may not be touched, the data's pages, one more that
// may not be touched. The data ends with its last page, but for what aligns its beginning.
struct Header {
  size_t size;   // bytes that were asked for, at least 1
  size_t total;  // of all pages
};

class GuardedAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t size) override {
    size = std::max<size_t>(size, 1);
    const size_t body = RoundUp(size, kAlignment);
    const size_t data = RoundUp(body, page_);
    const size_t total = data + 3 * page_;
    void* mapped =
        ::mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    auto* base = static_cast<unsigned char*>(mapped);
    *reinterpret_cast<Header*>(base) = {size, total};
    unsigned char* first = base + 2 * page_;
    unsigned char* block = first + data - body;
    std::memset(first, kSlack, static_cast<size_t>(block - first));
    std::memset(block, kFilling, size);
    std::memset(block + size, kSlack, body - size);
    if (::mprotect(base + page_, page_, PROT_NONE) != 0 ||
        ::mprotect(first + data, page_, PROT_NONE) != 0) {
      throw std::bad_alloc();
    }
    return {block, block, &Free, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &Free; }
  void copy_data(void* to, const void* from, size_t size) const override {
    default_copy_data(to, from, size);
  }

 private:
  static bool IsSlack(const unsigned char* begin, const unsigned char* end) {
    return std::all_of(begin, end, [](unsigned char byte) { return byte == kSlack; });
  }

  static void Free(void* pointer) {
    const auto* block = static_cast<unsigned char*>(pointer);
    auto* first =
        reinterpret_cast<unsigned char*>(reinterpret_cast<uintptr_t>(pointer) / page_ * page_);
    unsigned char* base = first - 2 * page_;
    const Header header = *reinterpret_cast<const Header*>(base);
    const unsigned char* end = block + header.size;
    if (!IsSlack(first, block) || !IsSlack(end, block + RoundUp(header.size, kAlignment))) {
      std::abort();
    }
    ::munmap(base, header.total);
  }

  static inline const size_t page_ = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
};

}  // namespace

void GuardTensorMemory() {
  static GuardedAllocator allocator;
  c10::SetAllocator(c10::DeviceType::CPU, &allocator, /*priority=*/255);
}

}  // namespace ds
