// Pictures to try a network on without data: each class has a smooth pattern, each sample adds
// noise. A pure function of (seed, split, index), in integers: the same bytes everywhere.
#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "data/sample_random.h"
#include "data/sets/openers.h"

namespace ds {
namespace {

constexpr int64_t kMaxSide = 4096;
constexpr int64_t kMaxClasses = 100000;
constexpr int64_t kMaxChannels = 64;
constexpr int64_t kMaxSize = int64_t{1} << 40;

constexpr int kGrid = 5;          // a class's pattern: kGrid x kGrid corner values a channel
constexpr int kFractionBits = 8;  // of the interpolation between them
// Pixel = pattern / 2 + noise / 2: as much signal as noise, so that a network learns it, but not at
// once.

class SyntheticImages final : public Dataset {
 public:
  SyntheticImages(DatasetInfo info, uint64_t seed, RandomPurpose split)
      : info_(std::move(info)), seed_(seed), split_(split) {}

  const DatasetInfo& info() const override { return info_; }

  absl::Status ReadImage(int64_t index, absl::Span<uint8_t> pixels, int64_t* label) const override {
    DS_RETURN_IF_ERROR(CheckRead(info_, SampleKind::kImage, index, pixels.size()));
    SampleRandom noise(seed_, split_, 0, index);
    *label = noise.Below(info_.classes);
    SampleRandom corners(seed_, RandomPurpose::kPattern, 0, *label);
    for (int64_t c = 0; c < info_.channels; ++c) DrawPlane(&corners, plane(pixels, c));
    AddNoise(&noise, pixels);
    return absl::OkStatus();
  }

  absl::Status ReadText(int64_t, absl::Span<int64_t>) const override {
    return WrongKind(info_.kind, SampleKind::kText);
  }

 private:
  absl::Span<uint8_t> plane(absl::Span<uint8_t> pixels, int64_t c) const {
    return pixels.subspan(c * info_.height * info_.width, info_.height * info_.width);
  }

  // Bilinear between random corner values.
  void DrawPlane(SampleRandom* random, absl::Span<uint8_t> out) const {
    std::array<std::array<int32_t, kGrid>, kGrid> corners;
    for (auto& row : corners) {
      for (int32_t& value : row) value = static_cast<int32_t>(random->Next32() >> 24);
    }
    constexpr int64_t kOne = 1 << kFractionBits;
    for (int64_t y = 0; y < info_.height; ++y) {
      const int64_t v = y * (kGrid - 1) * kOne / info_.height;
      const int64_t row = v >> kFractionBits, fy = v & (kOne - 1);
      for (int64_t x = 0; x < info_.width; ++x) {
        const int64_t u = x * (kGrid - 1) * kOne / info_.width;
        const int64_t column = u >> kFractionBits, fx = u & (kOne - 1);
        const int64_t top = corners[row][column] * (kOne - fx) + corners[row][column + 1] * fx;
        const int64_t bottom =
            corners[row + 1][column] * (kOne - fx) + corners[row + 1][column + 1] * fx;
        out[y * info_.width + x] =
            static_cast<uint8_t>((top * (kOne - fy) + bottom * fy) >> (2 * kFractionBits));
      }
    }
  }

  static void AddNoise(SampleRandom* random, absl::Span<uint8_t> pixels) {
    constexpr size_t kBlockBytes = 16;
    for (size_t i = 0; i < pixels.size(); i += kBlockBytes) {
      const std::array<uint32_t, 4> block = random->NextBlock();
      for (size_t k = 0; k < kBlockBytes && i + k < pixels.size(); ++k) {
        const uint32_t byte = block[k / 4] >> (8 * (k % 4)) & 0xff;
        pixels[i + k] = static_cast<uint8_t>((pixels[i + k] + byte) / 2);
      }
    }
  }

  DatasetInfo info_;
  uint64_t seed_;
  RandomPurpose split_;
};

absl::Status CheckRange(const char* name, int64_t value, int64_t highest) {
  if (value >= 1 && value <= highest) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("synthetic data: ", name, " ", value, " is not in 1..", highest));
}

}  // namespace

absl::StatusOr<DatasetPtr> OpenSynthetic(const DatasetOptions& options) {
  DS_RETURN_IF_ERROR(CheckRange("channels", options.channels, kMaxChannels));
  DS_RETURN_IF_ERROR(CheckRange("height", options.height, kMaxSide));
  DS_RETURN_IF_ERROR(CheckRange("width", options.width, kMaxSide));
  DS_RETURN_IF_ERROR(CheckRange("classes", options.classes, kMaxClasses));
  DS_RETURN_IF_ERROR(CheckRange("size", options.size, kMaxSize - 1));
  DatasetInfo info;
  info.size = LimitedSize(options.size, options.limit);
  info.channels = options.channels;
  info.height = options.height;
  info.width = options.width;
  info.classes = options.classes;
  const auto split = options.split == "train" ? RandomPurpose::kTrain : RandomPurpose::kTest;
  return DatasetPtr(std::make_shared<SyntheticImages>(std::move(info), options.seed, split));
}

}  // namespace ds
