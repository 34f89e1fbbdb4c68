// What a strategy does with the updates of one publication: a small class each, found by name in
// registry.h. What it does at the sites (fedprox's pull, scaffold's correction) is the trainer's,
// and what follows from the published sum is GlobalModel's; between them a strategy combines
// integers, exactly, the same whatever the order of the updates, block by block: memory holds the
// result and a few kilobytes an update.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "federated/store/store.h"
#include "federated/update/global_model.h"

namespace ds::federated {

struct StrategyTraits {
  absl::string_view name;
  // Needs each site's update, which secure aggregation hides; else the sum is enough.
  bool individual_updates = false;
  // Publishes whenever a buffer is full, of updates for several versions.
  bool asynchronous = false;
  // Sites send the change of their control variates too.
  bool control_variates = false;
};

struct UpdateBlob {
  std::string digest;  // of the blob; decides where updates are equally good
  int64_t base_version = 0;
  std::shared_ptr<const BlobReader> packed;  // GlobalModel::values() of update_bits()
};

struct CombineRequest {
  int64_t version = 0;                   // that is made
  const UpdateShape* shape = nullptr;    // GlobalModel::shape()
  int update_bits = 0;                   // GlobalModel::update_bits()
  int modulus_bits = 0;                  // GlobalModel::modulus_bits()
  absl::Span<const UpdateBlob> updates;  // at least one
};

class Strategy {
 public:
  virtual ~Strategy() = default;
  virtual const StrategyTraits& traits() const = 0;
  // Updates without which Combine means nothing.
  virtual int64_t least_updates() const { return 1; }
  // FailedPrecondition for fewer updates than least_updates(). An update that cannot be read or is
  // of the wrong size is an error that names its digest.
  virtual absl::StatusOr<Published> Combine(const CombineRequest& request) const = 0;
};

// An update's blob as the aggregator must insist on it: its size, and no bits behind its last
// value. InvalidArgument.
absl::Status CheckUpdateBlob(const BlobReader& packed, int64_t values, int bits);

// The plain sum modulo 2^sum_bits of packed vectors of `values` values of `bits` <= sum_bits bits:
// under secure aggregation, of masked ones.
absl::StatusOr<IntegerVector> SumPacked(absl::Span<const std::shared_ptr<const BlobReader>> packed,
                                        int64_t values, int bits, int sum_bits);

}  // namespace ds::federated
