// Data sets on the host: raw samples by index, decoded on demand, thread-safe. Augmentation and
// batching are in loader.h; nothing here knows LibTorch.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/tensor/tensor.h"

namespace ds {

// The kind of a sample: images become float32 [N, C, H, W] batches with int64 labels [N]; text
// becomes int64 [N, T] tokens with int64 [N, T] next-token labels.
enum class SampleKind { kImage, kText };

struct DatasetInfo {
  SampleKind kind = SampleKind::kImage;
  int64_t size = 0;                             // samples
  int64_t channels = 0, height = 0, width = 0;  // images (after decoding and resizing)
  int64_t sequence_length = 0;                  // text
  int64_t classes = 0;                          // labels are 0..classes-1
  std::vector<std::string> class_names;         // may be empty
};

// A checksum of a data set, and of what of it, in words for people.
struct DatasetDigest {
  std::string value;
  std::string covers;  // "all bytes", "64 of 50000 samples"
};

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual const DatasetInfo& info() const = 0;
  // Image: writes C*H*W bytes (CHW, 0..255) and the label. `index` in [0, size). Thread-safe.
  virtual absl::Status ReadImage(int64_t index, absl::Span<uint8_t> pixels,
                                 int64_t* label) const = 0;
  // Text: writes T+1 tokens starting at sample `index`. Thread-safe.
  virtual absl::Status ReadText(int64_t index, absl::Span<int64_t> tokens) const = 0;
  // For ranks to compare (dataset_digest.h). All of what is held in memory; of the rest as much as
  // takes a second or so, which says what it is. As it stands here: 64 samples, evenly spread.
  virtual absl::StatusOr<DatasetDigest> Digest() const;
};

struct DatasetOptions {
  std::string type = "idx";  // idx | cifar10 | cifar100 | images | text | synthetic
  // idx, cifar10, cifar100, images: a folder; text: a file. Only this is looked at, except that
  // CIFAR's own folder name may be left off. Empty: the usual places, see `DatasetSearchPath`.
  std::string path;
  std::string split = "train";  // train | test
  int64_t limit = 0;            // use the first n samples only; 0: all
  int64_t image_size =
      0;  // image folder: resized (shorter side) and centre-cropped to this; 0 refuses mixed sizes
  // Synthetic: what to draw. Image folder: channels 1 (gray) or 3 (RGB), the others unused.
  int64_t channels = 3, height = 32, width = 32, classes = 10;
  int64_t size = 1024;               // synthetic: samples
  int64_t sequence_length = 128;     // text
  double validation_fraction = 0.1;  // text: the last share of the file is the test split
  uint64_t seed = 0;                 // synthetic
};

}  // namespace ds
