#include "base/log.h"

#include <atomic>
#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"

namespace ds {
namespace {

std::atomic<LogLevel> log_threshold{LogLevel::kInfo};
std::atomic<int> log_rank{-1};

constexpr const char* kLevelNames[] = {"info", "warning", "error"};

}  // namespace

void SetUpLog(LogLevel threshold, int rank) {
  log_threshold = threshold;
  log_rank = rank;
}

void Log(LogLevel level, absl::string_view message) {
  if (level < log_threshold) return;
  const int rank = log_rank;
  std::string line =
      absl::StrCat(kLevelNames[static_cast<size_t>(level)], ": ",
                   rank >= 0 ? absl::StrCat("rank ", rank, ": ") : "", message, "\n");
  // One call, so that lines of several threads do not mix.
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace ds
