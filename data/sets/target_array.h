// Labels as they are stored, as what a loss takes: classes as int64, values as float32.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/arrays/npy.h"
#include "data/dataset.h"
#include "data/sets/label_count.h"

namespace ds {

class TargetArray {
 public:
  // Integers are classes: none may be negative but `ignored_label`, which counts for nothing. Those
  // of shape [N, 1] are [N]. Floats and bools are values. Reads integers once, for the highest.
  // DataLoss with file and sample for a class below 0 or beyond 2^31.
  static absl::StatusOr<TargetArray> Create(StoredArray array, int64_t ignored_label);

  const ArrayInfo& info() const { return info_; }
  int64_t classes() const { return labels_.classes(); }  // the highest plus one; 0 for values
  // For a person, where the classes look wrong (label_count.h).
  std::string Note() const { return labels_.Note(array_.origin); }
  // Thread-safe. `out` has info()'s bytes.
  absl::Status Read(int64_t row, absl::Span<std::byte> out) const;

 private:
  absl::Status CountClasses(int64_t ignored_label);

  StoredArray array_;
  ArrayInfo info_;
  LabelCount labels_;
  int64_t elements_ = 1;  // of a sample
};

}  // namespace ds
