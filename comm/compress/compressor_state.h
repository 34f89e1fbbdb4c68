// What a gradient compressor carries from step to step, as named float32 arrays: that is what a
// checkpoint holds of it.
//
//   worker/NAME@FIRST  what this rank's contribution to elements FIRST.. of parameter NAME owes
//   owner/NAME@FIRST   what this rank, as their owner, owes to elements FIRST.. of the sum
//   factor/NAME@0      PowerSGD's warm start, the same on every rank
//
// Residuals are in the units of the exchanged sum (after the step's scale). docs/compression.md has
// the details.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "comm/compress/gradient_compressor.h"

namespace ds {

inline constexpr absl::string_view kWorkerResidual = "worker", kOwnerResidual = "owner",
                                   kFactor = "factor";

std::string StateKey(absl::string_view kind, absl::string_view name, int64_t first_element);

// Fills `into`, which stands for elements first_element.. of parameter `name`, from whichever
// entries of `state` overlap it; zeros where none does. Returns whether any did. InvalidArgument
// for a key that is none.
absl::StatusOr<bool> FillFromState(const CompressorState& state, absl::string_view kind,
                                   absl::string_view name, int64_t first_element,
                                   absl::Span<float> into);

// What contributors owed when they stopped, added up one after another; only the sum is held.
//
// A contributor is whatever has worker residuals of its own: a rank, or in a hierarchical exchange
// a host (MergeStates of its ranks). What the replicas are owed in all is the sum over contributors
// of worker residuals plus owner residuals. It is conserved, up to the rounding of one float32, by
// any number of contributors that go on each with PartOf their number. As many as before may keep
// their own worker residuals, bit for bit, and take shared() besides: ownership moves with the
// ranks and the buckets, so owner residuals are handed whole to everybody, who takes what it owns.
class ResidualSum {
 public:
  // The next contributor's. InvalidArgument for a key that is none, and where two contributors
  // claim the same element of an owner residual.
  absl::Status Add(const CompressorState& contributor);
  // An equal part of the worker residuals, and shared(). `contributors` >= 1.
  CompressorState PartOf(int contributors) const;
  // Everything but worker residuals: all owners'; of the rest, equal everywhere, the first's.
  const CompressorState& shared() const { return shared_; }

 private:
  absl::Status AddOwned(absl::string_view key, absl::string_view name, int64_t first,
                        const std::vector<float>& values);

  int added_ = 0;
  std::map<std::string, std::vector<double>> workers_;
  CompressorState shared_;
  // Of each parameter: the ranges [first, second) owned.
  std::map<std::string, std::map<int64_t, int64_t>> owned_;
};

// One state out of several that hold different parts. InvalidArgument where a key occurs twice with
// different values.
absl::StatusOr<CompressorState> MergeStates(absl::Span<const CompressorState> states);

}  // namespace ds
