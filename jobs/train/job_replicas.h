// What a training job must have in common on all ranks, beside what its trainer has: the debug
// check of run.verify_replicas.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "comm/communicator.h"
#include "jobs/train/gated_training.h"
#include "jobs/train/pruned_training.h"
#include "trainer/qat/qat_module.h"
#include "trainer/state/run_state.h"

namespace ds {

// Internal, on every rank, naming what differs first, where, and `step`: results so far, the plan
// of `quantized`, what `pruning` has removed, the weight of `gating`'s penalty. All but `progress`
// may be null. Collective.
absl::Status VerifyJobReplicas(const RunProgress& progress, const QatModule* quantized,
                               const PrunedTraining* pruning, const GatedTraining* gating,
                               int64_t step, Communicator& communicator);

}  // namespace ds
