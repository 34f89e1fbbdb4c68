// Any bytes as a detector's text: a label file and a list of anchors; an error, or sound numbers.
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "jobs/run/detect/label_file.h"
#include "jobs/run/detect/yolo.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto boxes = ds::ParseLabelFile(text, "fuzz.txt", {480, 640});
  if (boxes.ok()) {
    for (const ds::Box& box : *boxes) {
      DS_CHECK(box.label >= 0 && box.x0 <= box.x1 && box.y0 <= box.y1);
      DS_CHECK(box.x0 >= -320 && box.x1 <= 960 && box.y0 >= -240 && box.y1 <= 720);
    }
  }
  const auto anchors = ds::ParseAnchors(text);
  if (anchors.ok()) {
    for (const auto& grid : *anchors) {
      DS_CHECK(!grid.empty() && grid.size() % 2 == 0);
      for (const float number : grid) DS_CHECK(number > 0 && std::isfinite(number));
    }
  }
  DS_CHECK(boxes.ok() || !boxes.status().message().empty());
  return 0;
}
