// A run's checkpoint, written and read by all ranks together: rank 0 what is the same on all, each
// rank what it has of its own (rank_state.h). Nothing is gathered in one memory, each file is read
// and hashed once, and a checkpoint is there only if every rank's part is.
//
// Ranks need not share a file system: one that does not see rank 0's folder hands its files to
// rank 0, one rank at a time.
#pragma once

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/state/rank_state.h"

namespace ds {

// Where and as what; looked at on rank 0 only.
struct CheckpointPlace {
  std::string root;
  int64_t step = 0;
  int64_t keep = 1;
};

// `shared`: called on rank 0 alone, must not use `communicator`; its "optimizer" is left out where
// ranks have optimisers of their own. `contributor`: as of ContributorOf. A rank whose `shared` or
// `mine` is an error, or that cannot write, makes it fail on all: then the earlier checkpoints are
// as they were. Disks may be slow: ranks wait for each other as long as they live
// (comm/while_others_wait.h). Collective.
absl::Status WriteRunCheckpoint(const CheckpointPlace& place,
                                absl::FunctionRef<absl::StatusOr<Checkpoint>()> shared,
                                const absl::StatusOr<RankState>& mine, int contributor,
                                Communicator& communicator);

struct RunCheckpoint {
  std::string folder;  // as rank 0 names it
  Checkpoint shared;   // the same on all ranks
  RankState mine;      // optimizer: empty where `shared` has one for all
};

// The newest checkpoint under rank 0's `root` that all ranks could read and that verifies; rank 0
// warns about each that is passed by. As many contributors as wrote it get back what they had, bit
// for bit; others an equal part of the same sum. With `own_optimizer`, as many ranks as wrote it
// get their own optimiser back; else all get the mean. NotFound, on every rank, if there is none.
// Collective.
absl::StatusOr<RunCheckpoint> ReadRunCheckpoint(const std::string& root, int contributor,
                                                bool own_optimizer, Communicator& communicator);

}  // namespace ds
