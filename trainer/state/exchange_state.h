// What ranks have of their own in a checkpoint, one numbered file each: residuals of exchange, and
// with local steps the state of their optimisers. Rank 0 writes it all down, and hands it out again
// to as many as there are then.
//
// Residuals are a contributor's: a rank, or a host where hosts sum up first.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/tensor/safetensors.h"
#include "comm/communicator.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/sync/gradient_synchronizer.h"

namespace ds {

// This rank's contributor number: its rank, or its host's. Collective.
absl::StatusOr<int> ContributorOf(bool hierarchical, Communicator& communicator);

// Puts "residuals-0", "residuals-1", ... (one a contributor; none where there are no residuals)
// into `checkpoint->tensors`. `mine` is this rank's state; the checkpoint is touched on rank 0
// only. Collective.
absl::Status GatherResiduals(const CompressorState& mine, int contributor,
                             Communicator& communicator, Checkpoint* checkpoint);

// This rank's part of the residuals in rank 0's checkpoint (the others' is not looked at). With
// another number of contributors than wrote it the sum over them is kept (RedistributeResiduals).
// Collective; every rank learns of rank 0's error.
absl::StatusOr<CompressorState> ScatterResiduals(const Checkpoint& checkpoint, int contributor,
                                                 Communicator& communicator);

// Puts every rank's optimiser, "optimizer-0", "optimizer-1", ..., into rank 0's checkpoint in place
// of "optimizer". Collective.
absl::Status GatherOptimizers(const TensorMap& mine, Communicator& communicator,
                              Checkpoint* checkpoint);

// The optimiser this rank goes on with; empty if rank 0's checkpoint has one for all. With `own`,
// ranks get what they had; where there are not as many ranks as wrote it, or without `own`, all get
// the mean (counts are rounded). Collective; every rank learns of rank 0's error.
absl::StatusOr<TensorMap> ScatterOptimizers(const Checkpoint& checkpoint, bool own,
                                            Communicator& communicator);

// Whether a file of a checkpoint is one rank's: such files stay on rank 0 when the others are
// handed to all.
bool BelongsToOneRank(const std::string& file_stem);

}  // namespace ds
