#include "tests/deploy/engine/runtime/heap_watch.h"

#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__)
#define DS_ADDRESS_SANITIZER 1
#elif defined(__SANITIZE_THREAD__)
#define DS_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DS_ADDRESS_SANITIZER 1
#elif __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define DS_THREAD_SANITIZER 1
#endif
#endif

namespace ds::engine::testing {
namespace {

std::atomic<int64_t> bytes{0}, most_bytes{0}, allocations{0};

[[maybe_unused]] void Took(int64_t size) {
  const int64_t now = bytes.fetch_add(size) + size;
  for (int64_t most = most_bytes.load();
       most < now && !most_bytes.compare_exchange_weak(most, now);) {
  }
  allocations.fetch_add(1);
}

[[maybe_unused]] void Gave(int64_t size) { bytes.fetch_sub(size); }

}  // namespace

Heap HeapNow() { return {bytes.load(), most_bytes.load(), allocations.load()}; }
void ForgetMost() { most_bytes.store(bytes.load()); }

}  // namespace ds::engine::testing

#if defined(DS_ADDRESS_SANITIZER)

extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void*, size_t),
                                                         void (*)(const volatile void*));
extern "C" size_t __sanitizer_get_allocated_size(const volatile void*);

namespace ds::engine::testing {
namespace {

const bool installed =
    __sanitizer_install_malloc_and_free_hooks(
        [](const volatile void*, size_t size) { Took(static_cast<int64_t>(size)); },
        [](const volatile void* memory) {
          Gave(static_cast<int64_t>(__sanitizer_get_allocated_size(memory)));
        }) != 0;

}  // namespace

bool HeapIsWatched() { return installed; }

}  // namespace ds::engine::testing

#elif defined(__GLIBC__) && !defined(DS_THREAD_SANITIZER)

// The C library lets a program have its own allocator (its manual, "Replacing malloc"): these count
// and call the library's.
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);

static void* Counted(void* memory) {
  if (memory != nullptr)
    ds::engine::testing::Took(static_cast<int64_t>(malloc_usable_size(memory)));
  return memory;
}
static void Uncount(void* memory) {
  if (memory != nullptr)
    ds::engine::testing::Gave(static_cast<int64_t>(malloc_usable_size(memory)));
}

void* malloc(size_t size) { return Counted(__libc_malloc(size)); }
void* calloc(size_t count, size_t size) { return Counted(__libc_calloc(count, size)); }
void* realloc(void* memory, size_t size) {
  Uncount(memory);
  return Counted(__libc_realloc(memory, size));
}
void free(void* memory) {
  Uncount(memory);
  __libc_free(memory);
}
void* aligned_alloc(size_t alignment, size_t size) {
  return Counted(__libc_memalign(alignment, size));
}
void* memalign(size_t alignment, size_t size) { return Counted(__libc_memalign(alignment, size)); }
int posix_memalign(void** memory, size_t alignment, size_t size) {
  *memory = Counted(__libc_memalign(alignment, size));
  return *memory == nullptr ? ENOMEM : 0;
}
}

namespace ds::engine::testing {
bool HeapIsWatched() { return true; }
}  // namespace ds::engine::testing

#else

namespace ds::engine::testing {
bool HeapIsWatched() { return false; }
}  // namespace ds::engine::testing

#endif
