#include "jobs/run/detect/label_file.h"

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace ds {

absl::StatusOr<std::vector<Box>> ParseLabelFile(absl::string_view text, absl::string_view origin,
                                                const ImageSize& picture) {
  const auto height = static_cast<float>(picture.height), width = static_cast<float>(picture.width);
  std::vector<Box> boxes;
  int64_t number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty()) continue;
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
    int64_t label = -1;
    float at[4] = {};
    bool sound = words.size() == 5 && absl::SimpleAtoi(words[0], &label) && label >= 0;
    for (size_t i = 0; sound && i < 4; ++i)
      sound = absl::SimpleAtof(words[i + 1], &at[i]) && at[i] >= 0 && at[i] <= 1;
    if (!sound) {
      return absl::InvalidArgumentError(
          absl::StrCat(origin, ":", number, ": '", line.substr(0, 60),
                       "' is no box: give its class, and centre x, y, width and height as shares "
                       "of the picture's, from 0 to 1"));
    }
    boxes.push_back({(at[0] - at[2] / 2) * width, (at[1] - at[3] / 2) * height,
                     (at[0] + at[2] / 2) * width, (at[1] + at[3] / 2) * height, 0, label});
  }
  return boxes;
}

}  // namespace ds
