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

// The states from which `new_contributors` ranks continue what `states`, one of each old
// contributor, left off. A contributor is whatever has worker residuals of its own: a rank, or in a
// hierarchical exchange a host (MergeStates of its ranks). Owner residuals are handed whole to
// everybody, since ownership moves: each takes what it owns. With as many contributors as before,
// worker residuals stay where they were, bit for bit; otherwise each new one gets an equal part of
// their sum. Either way the sum over contributors of worker residuals plus owner residuals, which
// is what the replicas are still owed, is conserved up to the rounding of one float32.
// InvalidArgument if two states claim the same element of an owner residual.
absl::StatusOr<std::vector<CompressorState>> RedistributeResiduals(
    absl::Span<const CompressorState> states, int new_contributors);

// One state out of several that hold different parts. InvalidArgument where a key occurs twice with
// different values.
absl::StatusOr<CompressorState> MergeStates(absl::Span<const CompressorState> states);

}  // namespace ds
