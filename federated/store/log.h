// The log of a store in a folder of segment files: appended by whoever is first, synced once for
// all that came meanwhile.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/file/file_system.h"
#include "base/mutex.h"

namespace ds::federated {

class Log {
 public:
  // A segment that has grown beyond it gets no further records.
  static constexpr int64_t kSegmentBytes = int64_t{64} << 20;

  // `folder` is there. A torn end is voided here: the next segment says where it begins.
  static absl::StatusOr<std::unique_ptr<Log>> Open(std::string folder);

  // As Store's.
  absl::StatusOr<int64_t> Append(absl::string_view record);
  absl::Status Replay(
      absl::FunctionRef<absl::Status(int64_t number, absl::string_view record)> visit);

 private:
  struct Segment {
    uint32_t number = 0;
    int64_t end = 0;  // bytes that are on the disk and count
  };

  explicit Log(std::string folder) : folder_(std::move(folder)) {}
  std::string PathOf(uint32_t segment) const;
  absl::StatusOr<std::vector<uint32_t>> FindSegments() const;
  absl::Status OpenLast(const std::vector<uint32_t>& found);
  absl::Status ReplaySegment(
      const Segment& segment,
      absl::FunctionRef<absl::Status(int64_t number, absl::string_view record)> visit,
      int64_t& next) const;
  // Makes the next segment and goes on in it.
  absl::Status Begin(int64_t first);
  // Writes and syncs `records`; by one thread at a time, without the lock.
  absl::Status Write(const std::vector<absl::string_view>& records, int64_t first);

  const std::string folder_;
  Mutex mutex_;
  CondVar written_;
  std::vector<Segment> segments_ ABSL_GUARDED_BY(mutex_);
  std::vector<absl::string_view> waiting_ ABSL_GUARDED_BY(mutex_);  // of callers that wait
  int64_t durable_ ABSL_GUARDED_BY(mutex_) = 0;                     // records on the disk
  int64_t taken_ ABSL_GUARDED_BY(mutex_) = 0;                       // numbers given out
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status broken_ ABSL_GUARDED_BY(mutex_);  // after the first error
  // Of whoever writes.
  std::unique_ptr<WritableFile> file_;
  Segment last_;
};

}  // namespace ds::federated
