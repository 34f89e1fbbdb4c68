#include "jobs/train/run_description.h"

#include "report/run_folder.h"

namespace ds {

RunSummary DescribeRun(const TrainConfig& config, const JobObjects& objects,
                       const RunProgress& progress, int world_size) {
  const MixedPrecisionTrainer& trainer = *objects.trainer;
  RunSummary summary;
  summary.name = config.run.name;
  summary.model = config.model.onnx.empty() ? config.model.name : config.model.onnx;
  summary.parameters = objects.module->graph().ParameterCount();
  summary.seed = config.run.seed;
  summary.precision = progress.precision;
  summary.world_size = world_size;
  summary.epochs = trainer.epoch();
  summary.metric = trainer.loss().metrics().front();
  summary.best_epoch = progress.best_epoch + 1;
  if (progress.best_epoch >= 0) {
    summary.test_accuracy = progress.best_metric;
    summary.test_loss = progress.best_loss;
  }
  summary.local_steps = config.trainer.local_steps.every;
  const CompressionReport compression = trainer.compression_report();
  summary.compression = compression.method;
  summary.compression_reason = compression.reason;
  summary.raw_bytes_per_step = compression.raw_bytes_per_step;
  if (compression.relative_error >= 0) summary.compression_error = compression.relative_error;
  summary.skipped_steps = trainer.skipped_steps();
  if (trainer.scaler().enabled()) summary.loss_scale = trainer.scaler().scale();
  summary.pruning = config.pruning.mode;
  summary.gating = config.gating.mode;
  summary.versions = HostVersions();
  return summary;
}

}  // namespace ds
