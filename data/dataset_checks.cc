#include "data/dataset_checks.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"

namespace ds {
namespace {

absl::Status CheckIndex(const DatasetInfo& info, int64_t index) {
  if (index >= 0 && index < info.size) return absl::OkStatus();
  return absl::OutOfRangeError(
      absl::StrCat("sample ", index, " of a data set of ", info.size, " samples"));
}

const char* KindName(SampleKind kind) {
  switch (kind) {
    case SampleKind::kText:
      return "text";
    case SampleKind::kTensors:
      return "tensors";
    case SampleKind::kImage:
      break;
  }
  return "images";
}

}  // namespace

int64_t LimitedSize(int64_t size, int64_t limit) {
  return limit > 0 ? std::min(size, limit) : size;
}

absl::Status CheckRead(const DatasetInfo& info, SampleKind kind, int64_t index, int64_t elements) {
  if (info.kind != kind) return WrongKind(info.kind, kind);
  DS_RETURN_IF_ERROR(CheckIndex(info, index));
  const int64_t wanted = kind == SampleKind::kText ? info.sequence_length + 1
                                                   : info.channels * info.height * info.width;
  if (elements != wanted) {
    return absl::InvalidArgumentError(
        absl::StrCat("a buffer of ", elements, " elements for a sample of ", wanted));
  }
  return absl::OkStatus();
}

absl::Status CheckReadTensors(const DatasetInfo& info, int64_t index,
                              absl::Span<const absl::Span<std::byte>> inputs,
                              absl::Span<std::byte> target) {
  if (info.kind != SampleKind::kTensors) return WrongKind(info.kind, SampleKind::kTensors);
  DS_RETURN_IF_ERROR(CheckIndex(info, index));
  const int64_t wanted_target = info.target.has_value() ? SampleBytes(*info.target) : 0;
  bool fits =
      inputs.size() == info.inputs.size() && static_cast<int64_t>(target.size()) == wanted_target;
  for (size_t i = 0; fits && i < inputs.size(); ++i)
    fits = static_cast<int64_t>(inputs[i].size()) == SampleBytes(info.inputs[i]);
  if (fits) return absl::OkStatus();
  return absl::InvalidArgumentError("buffers of other sizes than the sample's arrays have");
}

int64_t SampleBytes(const ArrayInfo& array) {
  const absl::StatusOr<int64_t> count = NumElements(array.shape);
  DS_CHECK(count.ok()) << count.status().message();
  return ByteSize(array.dtype, *count);
}

absl::Status WrongKind(SampleKind held, SampleKind asked) {
  return absl::FailedPreconditionError(
      absl::StrCat("this data set holds ", KindName(held), ", not ", KindName(asked)));
}

}  // namespace ds
