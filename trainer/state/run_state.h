// What a checkpoint of a run holds, and how it comes back: module, optimiser, averages, trainer,
// schedule, best result.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/tensor/safetensors.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/mixed_precision_trainer.h"

namespace ds {

// The objects whose state a run is. Not owned.
struct RunObjects {
  GraphModule* module = nullptr;
  Optimizer* optimizer = nullptr;
  Schedule* schedule = nullptr;
  MixedPrecisionTrainer* trainer = nullptr;
};

// What the job itself remembers from one epoch to the next.
struct RunProgress {
  double best_metric = -1;  // by the loss' first metric
  int64_t best_epoch = -1;  // 0-based; -1: none yet
  double best_loss = 0;
  std::string precision;    // what `auto` chose
  double wall_seconds = 0;  // of training so far, earlier runs included
  double float_metric = 0;  // of the model that quantisation-aware training began with
};

// Without what ranks have of their own (rank_state.h).
absl::StatusOr<Checkpoint> CaptureRun(const RunObjects& objects, const RunProgress& progress);
// The optimiser's part of it.
absl::StatusOr<TensorMap> OptimizerTensors(const Optimizer& optimizer);
// Whether the run that wrote it had local steps.
bool HasLocalSteps(const Checkpoint& checkpoint);
// Section of a checkpoint: the float model that quantisation-aware training began with, if it has
// begun.
inline constexpr char kFloatSection[] = "float";
bool HasFloatModel(const Checkpoint& checkpoint);
// Parameters and buffers of a module by name, as a checkpoint's section holds them.
absl::StatusOr<TensorMap> ModuleTensors(const GraphModule& module);
// Puts section `section` into the module; errors as of RestoreRun.
absl::Status RestoreModule(const Checkpoint& checkpoint, const std::string& section,
                           const GraphModule& module);
// NotFound or InvalidArgument naming what is missing or misshapen (a checkpoint of another model,
// say).
absl::Status RestoreRun(const Checkpoint& checkpoint, const RunObjects& objects,
                        RunProgress* progress);

}  // namespace ds
