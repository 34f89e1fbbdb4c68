// Data sets on the host: raw samples by index, decoded on demand, thread-safe. Augmentation and
// batching are in loader.h; nothing here knows LibTorch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/tensor/tensor.h"

namespace ds {

// The kind of a sample: images become float32 [N, C, H, W] batches with int64 labels [N]; text
// becomes int64 [N, T] tokens with int64 [N, T] next-token labels; tensors are arrays by the names
// of the model's inputs, of any type and shape, with targets or without.
enum class SampleKind { kImage, kText, kTensors };

// One array of a sample. `shape` is without the axis of samples: {} is a number a sample.
struct ArrayInfo {
  std::string name;  // the model's input; empty: its only one
  DType dtype = DType::kFloat32;
  Shape shape;
};

struct DatasetInfo {
  SampleKind kind = SampleKind::kImage;
  int64_t size = 0;                             // samples
  int64_t channels = 0, height = 0, width = 0;  // images (after decoding and resizing)
  std::vector<std::string> channel_names;       // csv: its inputs, one a channel
  int64_t sequence_length = 0;                  // text
  int64_t classes = 0;                          // labels are 0..classes-1; tensors: 0 if none are
  int64_t ignored_label = -100;                 // a label that stands for none of them
  std::vector<ArrayInfo> inputs;                // tensors: at least one
  // Tensors, absent without labels. int64 of shape {}, {T} or {H, W}: classes. float32 of shape {}
  // or {K}: values to regress, or 0 and 1 of K labels.
  std::optional<ArrayInfo> target;
  std::vector<std::string> class_names;  // may be empty
  std::vector<std::string> notes;        // what a person should hear once of this data
};

// A checksum of a data set, and of what of it, in words for people.
struct DatasetDigest {
  std::string value;
  std::string covers;  // "all bytes", "64 of 50000 samples"
};

// A part of a picture: rows [y, y + height), columns [x, x + width).
struct PixelBox {
  int64_t y = 0, x = 0, height = 0, width = 0;
};

// Which part of a picture to show, from the picture's own size; it must lie inside.
using BoxChooser = absl::FunctionRef<PixelBox(int64_t height, int64_t width)>;

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual const DatasetInfo& info() const = 0;
  // Image: writes C*H*W bytes (CHW, 0..255) and the label. `index` in [0, size). Thread-safe.
  virtual absl::Status ReadImage(int64_t index, absl::Span<uint8_t> pixels,
                                 int64_t* label) const = 0;
  // Image: the part that `choose` picks, resized to info's height and width (bilinear,
  // antialiased). As it stands here the part is cut from what ReadImage gives. Thread-safe.
  virtual absl::Status ReadCrop(int64_t index, BoxChooser choose, absl::Span<uint8_t> pixels,
                                int64_t* label) const;
  // Text: writes T+1 tokens starting at sample `index`. Thread-safe.
  virtual absl::Status ReadText(int64_t index, absl::Span<int64_t> tokens) const = 0;
  // Tensors: writes the sample's bytes of each of info().inputs, in that order, and of its target
  // (empty without one). Thread-safe.
  virtual absl::Status ReadTensors(int64_t index, absl::Span<const absl::Span<std::byte>> inputs,
                                   absl::Span<std::byte> target) const;
  // For ranks to compare (dataset_digest.h). All of what is held in memory; of the rest as much as
  // takes a second or so, which says what it is. As it stands here: 64 samples, evenly spread.
  virtual absl::StatusOr<DatasetDigest> Digest() const;
};

struct DatasetOptions {
  std::string type = "idx";  // idx | cifar10 | cifar100 | images | text | tensors | csv | synthetic
  // idx, cifar10, cifar100, images: a folder; text: a file; tensors, csv: either. Only this is
  // looked at, except that CIFAR's own folder name may be left off. Empty: the usual places, see
  // `DatasetSearchPath`.
  std::string path;
  std::string split = "train";  // train | test
  int64_t limit = 0;            // use the first n samples only; 0: all
  int64_t image_size =
      0;  // image folder: resized (shorter side) and centre-cropped to this; 0 refuses mixed sizes
  // Synthetic: what to draw. Image folder: channels 1 (gray) or 3 (RGB), the others unused.
  int64_t channels = 3, height = 32, width = 32, classes = 10;
  int64_t size = 1024;            // synthetic: samples
  int64_t sequence_length = 128;  // text
  // The share that is the test split: of a text its end; of images, tensors and csv without splits
  // of their own so many samples, drawn once for all.
  double validation_fraction = 0.1;
  // csv: columns to be learned. tensors: the array of labels; empty: "labels" or "targets", where
  // there is one.
  std::vector<std::string> targets;
  std::string target_type = "auto";     // csv: auto | class | number; auto: text is a class
  std::vector<std::string> features;    // csv: columns to learn from; empty: all others
  std::vector<std::string> categories;  // csv: columns of words or codes, one input a value
  int64_t ignored_label = -100;         // idx, tensors, csv: stands for no class
  std::string exif = "ignore";          // image folder: ignore | apply, of the camera's orientation
  uint64_t seed = 0;                    // synthetic
};

}  // namespace ds
