// What the aggregator itself does with a model: makes version 0 and the task that sites are
// offered, tests versions on its own data where it has some, and writes the finished run's files.
// Torch-free header; none of it needs a site's data.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "federated/agent/local_trainer.h"
#include "federated/training/task.h"
#include "report/summary.h"

namespace ds::federated {

// Writes `task`'s model as ONNX to `model_file` and returns the task's text for RunOffer::task.
// Where the task leaves out data.mean and stddev they are measured on the server's own training
// split. Without data at the server (NotFound) the task must say both, and a zoo model its
// channels, height, width and classes.
absl::StatusOr<std::string> WriteOffer(const FederatedTask& task, const std::string& model_file);

class ServerEvaluator {
 public:
  virtual ~ServerEvaluator() = default;

  // Version 0, as every site finds it in the ONNX file. `samples` is 0.
  virtual const LocalModel& model() const = 0;
  // Whether there is a test split.
  virtual bool has_data() const = 0;
  // The model `weights` on the whole test split; with qat as it will be exported, once training
  // with its rounding has begun. `round`: how many rounds made them. FailedPrecondition without
  // data.
  virtual absl::StatusOr<SiteMetrics> Evaluate(int64_t round, absl::Span<const float> weights) = 0;
  // model.onnx, model.safetensors and what the task's quantization section asks for: files of
  // integers with their accuracy (NaN without data). mode ptq needs training images at the server
  // to calibrate on: without data it writes none.
  virtual absl::StatusOr<std::vector<QuantizedExport>> WriteModels(absl::Span<const float> weights,
                                                                   const std::string& folder) = 0;
};

// `config`: the server's own, of which the data section and run.threads count. Data that are not
// there (NotFound) are left out.
absl::StatusOr<std::unique_ptr<ServerEvaluator>> MakeServerEvaluator(const RunOffer& offer,
                                                                     const std::string& model_file,
                                                                     const TrainConfig& config);

}  // namespace ds::federated
