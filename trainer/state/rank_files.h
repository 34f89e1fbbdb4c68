// Tensors of which every rank has its own: from all ranks to rank 0, which alone writes and reads
// checkpoints, and back; and the files of a checkpoint that are numbered for them: "residuals-0",
// "residuals-1", ...
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor/safetensors.h"
#include "comm/communicator.h"
#include "trainer/checkpoint/checkpoint.h"

namespace ds {

// `mine` of every rank, in the order of ranks, on every rank. Collective.
absl::StatusOr<std::vector<int>> FromAllRanks(int mine, Communicator& communicator);

// Rank 0 gets every rank's tensors in the order of ranks; the others get an empty list. `what`
// names them in messages. Collective.
absl::StatusOr<std::vector<TensorMap>> GatherTensors(const TensorMap& mine, absl::string_view what,
                                                     Communicator& communicator);

// What rank 0 hands out: rank r gets parts[part_of_rank[r]], or nothing where there are no parts.
struct RankParts {
  std::vector<TensorMap> parts;
  std::vector<int> part_of_rank;
};
// This rank's part. `parts` is looked at on rank 0 only; an error there comes back as it is, and as
// Aborted on the others. Collective.
absl::StatusOr<TensorMap> ScatterTensors(const absl::StatusOr<RankParts>& parts,
                                         absl::string_view what, Communicator& communicator);

// The tensors of the files `prefix`0, `prefix`1, ... in the order of their numbers. DataLoss if one
// is missing or bears no number.
absl::StatusOr<std::vector<TensorMap>> NumberedFiles(const Checkpoint& checkpoint,
                                                     absl::string_view prefix);

}  // namespace ds
