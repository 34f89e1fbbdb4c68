// The residuals of gradient exchange, to and from a checkpoint. Every contributor (a rank, or a host where hosts sum up first) has its own;
// rank 0 writes them all down, and hands them out again to as many contributors as there are then.
#pragma once

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/sync/gradient_synchronizer.h"

namespace ds {

// This rank's contributor number: its rank, or its host's. Collective.
absl::StatusOr<int> ContributorOf(bool hierarchical, Communicator& communicator);

// Puts "residuals-0", "residuals-1", ... (one a contributor; none where there are no residuals) into `checkpoint->tensors`. `mine` is this
// rank's state; the checkpoint is touched on rank 0 only. Collective.
absl::Status GatherResiduals(const CompressorState& mine, int contributor, Communicator& communicator, Checkpoint* checkpoint);

// This rank's part of the residuals in rank 0's checkpoint (the others' is not looked at). With another number of contributors than wrote
// it the sum over them is kept (RedistributeResiduals). Collective; every rank learns of rank 0's error.
absl::StatusOr<CompressorState> ScatterResiduals(const Checkpoint& checkpoint, int contributor, Communicator& communicator);

// Whether a file of a checkpoint holds residuals: such files stay on rank 0 when the others are handed to all.
bool HoldsResiduals(const std::string& file_stem);

}  // namespace ds
