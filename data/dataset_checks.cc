#include "data/dataset_checks.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace ds {

int64_t LimitedSize(int64_t size, int64_t limit) {
  return limit > 0 ? std::min(size, limit) : size;
}

absl::Status CheckRead(const DatasetInfo& info, SampleKind kind, int64_t index, int64_t elements) {
  if (info.kind != kind) return WrongKind(kind);
  if (index < 0 || index >= info.size) {
    return absl::OutOfRangeError(
        absl::StrCat("sample ", index, " of a data set of ", info.size, " samples"));
  }
  const int64_t wanted = kind == SampleKind::kText ? info.sequence_length + 1
                                                   : info.channels * info.height * info.width;
  if (elements != wanted) {
    return absl::InvalidArgumentError(
        absl::StrCat("a buffer of ", elements, " elements for a sample of ", wanted));
  }
  return absl::OkStatus();
}

absl::Status WrongKind(SampleKind asked) {
  return absl::FailedPreconditionError(asked == SampleKind::kText
                                           ? "this data set holds images, not text"
                                           : "this data set holds text, not images");
}

}  // namespace ds
