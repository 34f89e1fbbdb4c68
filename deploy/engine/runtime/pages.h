// Memory's pages asked of the system all at once, so that nobody waits for them one by one: a page
// that is missed costs a microsecond or more, twice what it does here.
#pragma once

#include <cstddef>
#include <memory>

namespace ds::engine {

// Address sanitizers watch the heap alone: there each piece of memory is a piece of it.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kWatchedHeap = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool kWatchedHeap = true;
#else
inline constexpr bool kWatchedHeap = false;
#endif
#else
inline constexpr bool kWatchedHeap = false;
#endif

// Zeros that take no memory until they are touched, aligned to 64 at least. `large`: the system may
// serve each 2 MiB of them, or most of these, by one page, which costs a tenth of 512 small ones.
class ZeroPages {
 public:
  ZeroPages(size_t bytes, bool large);
  // Null where there was not so much memory.
  std::byte* data() const { return data_; }

 private:
  struct Unmap {
    size_t bytes;
    void operator()(void* memory) const;
  };
  std::unique_ptr<void, Unmap> memory_;
  std::byte* data_ = nullptr;
};

enum class PageUse { kRead, kWrite };

// The pages that these bytes lie in. A wish: where the system cannot, they come as they are
// touched. Changes no content.
void PopulatePages(const void* first, size_t bytes, PageUse use);

}  // namespace ds::engine
