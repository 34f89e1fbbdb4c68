// What a configuration's quantization section asks of a run: from the float model to one that
// trains with its rounding, and from either to integer files. docs/qat.md has the whole way.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "jobs/config/train_config.h"
#include "jobs/data/data_setup.h"
#include "jobs/job_setup.h"
#include "report/summary.h"
#include "trainer/qat/qat_module.h"

namespace ds {

// Bits after `epochs` epochs of the run; `last`: whether no further stage follows.
struct QatStage {
  QatBits bits;
  bool last = true;
};
QatStage StageAt(const QuantizationConfig& config, int64_t epochs);

// "model-w4a8.onnx"
std::string ExportName(int64_t bits, int64_t activation_bits);

// Calibrates `float_model`'s graph on training images, puts a QatModule of it in the place of the
// job's model, and returns it (the job owns it). With distillation `float_model` is the teacher and
// must outlive the job. Every rank calls it, with the same `float_model`; rank 0 calibrates, and
// the others take its plan.
absl::StatusOr<QatModule*> StartQuantizedTraining(const TrainConfig& config,
                                                  const JobSetupOptions& options,
                                                  GraphModule& float_model,
                                                  Communicator& communicator, JobObjects& job);

// mode ptq: quantises the float file `model` and writes what the config asks for into `folder`,
// with each file's accuracy on the whole test split, executed with its integers. On one rank.
absl::StatusOr<std::vector<QuantizedExport>> ExportCalibrated(const TrainConfig& config,
                                                              const DataSplits& splits,
                                                              const std::string& model,
                                                              const std::string& folder);

// mode qat: the same figures of the file that training has written into `folder`.
absl::StatusOr<QuantizedExport> MeasureExport(const TrainConfig& config, const DataSplits& splits,
                                              const std::string& folder, int64_t bits,
                                              int64_t activation_bits);

}  // namespace ds
