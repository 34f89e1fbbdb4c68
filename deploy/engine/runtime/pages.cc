#include "deploy/engine/runtime/pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace ds::engine {
namespace {

// Linux 5.14; the C library's headers may be older than the system.
constexpr int kPopulateRead = 22, kPopulateWrite = 23;

}  // namespace

void PopulatePages(const void* first, size_t bytes, PageUse use) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const bool read = use == PageUse::kRead;
  const auto address = reinterpret_cast<uintptr_t>(first);
  // Whoever writes may share its first and last page with others.
  const uintptr_t begin = (address + (read ? 0 : page - 1)) / page * page;
  const uintptr_t end = read ? address + bytes : (address + bytes) / page * page;
  if (end <= begin) return;
  auto* from = reinterpret_cast<void*>(begin);
#if defined(__linux__)
  if (::madvise(from, end - begin, read ? kPopulateRead : kPopulateWrite) == 0) return;
#endif
  if (read) ::madvise(from, end - begin, MADV_WILLNEED);
}

}  // namespace ds::engine
