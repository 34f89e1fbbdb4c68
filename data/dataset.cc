// What a data set does unless it knows better.
#include "data/dataset.h"

#include <vector>

#include "base/status.h"
#include "data/dataset_checks.h"
#include "data/image/image_codec.h"
#include "data/image/image_resize.h"

namespace ds {

absl::Status Dataset::ReadCrop(int64_t index, BoxChooser choose, absl::Span<uint8_t> pixels,
                               int64_t* label) const {
  const DatasetInfo& of = info();
  std::vector<uint8_t> whole(pixels.size());
  DS_RETURN_IF_ERROR(ReadImage(index, absl::MakeSpan(whole), label));
  const PixelBox box = choose(of.height, of.width);
  if (of.channels == 1 || of.channels == 3) {
    ResizeBox(FromPlanes(whole, of.channels, of.height, of.width), internal::ToRealBox(box),
              of.height, of.width, pixels);
    return absl::OkStatus();
  }
  const auto area = static_cast<size_t>(of.height * of.width);
  for (size_t at = 0; at < pixels.size(); at += area) {
    const DecodedImage plane =
        FromPlanes(absl::MakeConstSpan(whole).subspan(at, area), 1, of.height, of.width);
    ResizeBox(plane, internal::ToRealBox(box), of.height, of.width, pixels.subspan(at, area));
  }
  return absl::OkStatus();
}

absl::Status Dataset::ReadTensors(int64_t, absl::Span<const absl::Span<std::byte>>,
                                  absl::Span<std::byte>) const {
  return WrongKind(info().kind, SampleKind::kTensors);
}

}  // namespace ds
