#include "data/sets/cifar.h"

#include "absl/strings/str_cat.h"

namespace ds {
namespace {

constexpr int kCoarseClasses = 20;

absl::Status CheckLabel(ByteSpan bytes, int64_t offset, absl::string_view origin,
                        absl::string_view kind, int classes) {
  if (bytes[offset] < classes) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(origin, ": byte ", offset, ": ", kind, " ",
                                          static_cast<int>(bytes[offset]), " is not in 0..",
                                          classes - 1, "; get the file again, or check its type"));
}

}  // namespace

absl::Status ParseCifar(ByteSpan bytes, absl::string_view origin, int classes,
                        CifarRecords* records) {
  const bool coarse = classes == 100;
  const int64_t label_bytes = coarse ? 2 : 1;
  const int64_t record = label_bytes + kCifarPixels;
  const int64_t size = bytes.size();
  if (size == 0 || size % record != 0) {
    return absl::DataLossError(absl::StrCat(
        origin, ": ", size, " bytes are no whole number of CIFAR-", classes, " records of ", record,
        " bytes (", size % record, " left at byte ", size - size % record,
        "); get the file again, or check that it is the binary version"));
  }
  for (int64_t offset = 0; offset < size; offset += record) {
    absl::Status status;
    if (coarse) status = CheckLabel(bytes, offset, origin, "coarse label", kCoarseClasses);
    if (status.ok()) {
      status = CheckLabel(bytes, offset + label_bytes - 1, origin, "label", classes);
    }
    if (!status.ok()) return status;
  }
  for (int64_t offset = 0; offset < size; offset += record) {
    const uint8_t* pixels = bytes.data() + offset + label_bytes;
    records->labels.push_back(bytes[offset + label_bytes - 1]);
    records->pixels.insert(records->pixels.end(), pixels, pixels + kCifarPixels);
  }
  return absl::OkStatus();
}

}  // namespace ds
