// Whether a sanitizer watches this program: time and memory are then not its own.
#pragma once

namespace ds {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define DS_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DS_SANITIZED 1
#endif

#ifdef DS_SANITIZED
inline constexpr bool kSanitized = true;
#undef DS_SANITIZED
#else
inline constexpr bool kSanitized = false;
#endif

// What bounds of time and patience are multiplied by: ThreadSanitizer makes our code 5 to 20 times
// slower, and waiting not at all.
inline constexpr int kTimesSlower = kSanitized ? 10 : 1;

}  // namespace ds
