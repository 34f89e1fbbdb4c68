// What a compressed exchange must compute, written once more without ranks, pieces, buckets or
// threads: whole tensors, one after another, each contribution and sum encoded and decoded in one
// go. The oracle of the tests here.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "codec/codec.h"

namespace ds {

class SerialSimulation {
 public:
  SerialSimulation(int ranks, uint64_t seed, bool error_feedback)
      : ranks_(ranks), seed_(seed), error_feedback_(error_feedback) {}

  // The exchanged tensor, from each rank's values. Residuals change if `commit`.
  std::vector<float> Exchange(const std::string& name, const std::shared_ptr<const Codec>& codec,
                              uint64_t step, float scale,
                              const std::vector<std::vector<float>>& values, bool commit);

  const std::vector<float>& worker(const std::string& name, int rank) {
    return workers_[name][static_cast<size_t>(rank)];
  }
  const std::vector<float>& owner(const std::string& name) { return owners_[name]; }

 private:
  const int ranks_;
  const uint64_t seed_;
  const bool error_feedback_;
  std::map<std::string, std::vector<std::vector<float>>> workers_;
  std::map<std::string, std::vector<float>> owners_;
};

}  // namespace ds
