// How many classes labels tell apart, and whether that is likely to be meant.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace ds {

class LabelCount {
 public:
  // `label` >= 0, of sample `index`.
  void Add(int64_t label, int64_t index) {
    if (label >= classes_) {
      classes_ = label + 1;
      first_highest_ = index;
    }
    if (label >= kMostCounted) return;
    if (label >= static_cast<int64_t>(seen_.size())) seen_.resize(static_cast<size_t>(label) + 1);
    if (!seen_[static_cast<size_t>(label)]) ++different_;
    seen_[static_cast<size_t>(label)] = true;
  }
  int64_t classes() const { return classes_; }  // the highest label plus one
  // For a person, where more than half of the classes up to the highest have no sample: a stray
  // label, or one that stands for none. Empty otherwise.
  std::string Note(absl::string_view origin) const;

 private:
  static constexpr int64_t kMostCounted = int64_t{1} << 20;
  int64_t classes_ = 0, first_highest_ = 0, different_ = 0;
  std::vector<bool> seen_;
};

}  // namespace ds
