// DS_CHECK(condition) << "context": aborts with file and line. For programming errors only; bad
// input is a Status.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace ds::internal {

// Prints what was streamed into it and aborts when it goes out of scope.
class CheckFailure {
 public:
  CheckFailure(const char* file, int line, const char* condition) {
    stream_ << file << ":" << line << ": check failed: " << condition << " ";
  }
  [[noreturn]] ~CheckFailure() {
    std::fprintf(stderr, "%s\n", stream_.str().c_str());
    std::abort();
  }
  std::ostream& stream() { return stream_; }

 private:
  std::ostringstream stream_;
};

}  // namespace ds::internal

#define DS_CHECK(condition) \
  while (!(condition)) ::ds::internal::CheckFailure(__FILE__, __LINE__, #condition).stream()
