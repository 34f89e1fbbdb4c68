// What a model is calibrated and tested on: a configuration's data, with labels or without, or
// random numbers where there is none.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "jobs/config/train_config.h"
#include "quant/torch/quantizer.h"

namespace ds {

struct TestBatch {
  std::vector<at::Tensor> inputs;     // in the graph's order
  std::optional<at::Tensor> targets;  // as the data has them
};
// Hands out batches, and nothing after the last.
using TestBatches = std::function<absl::StatusOr<std::optional<TestBatch>>()>;

class SampleSource {
 public:
  virtual ~SampleSource() = default;
  // The model as it is in its file; its batch is dynamic where the source wants that.
  virtual const Graph& graph() const = 0;
  // The first `samples` to calibrate on. What comes back must not outlive the source.
  virtual absl::StatusOr<CalibrationData> Calibration(int64_t samples) = 0;
  // Batches of the same data behind the first `samples`, for at least `count`: held out of a
  // calibration. FailedPrecondition where nothing is left, or the source has no labels.
  virtual absl::StatusOr<TestBatches> HeldOut(int64_t samples, int64_t count) = 0;
  // All of the test data, from its start.
  virtual absl::StatusOr<TestBatches> Test() = 0;
  // How many batches that is, about.
  virtual int64_t test_batches() const = 0;
  // What the import of the model has to say.
  virtual const std::vector<std::string>& notes() const = 0;
  // In words, for the report: "9000 samples of data.type idx", "random: input 'x' ...".
  virtual std::string Describe() const = 0;
};

// The splits of `config.data`, whose means are filled in if they were measured. Errors as of
// OpenSplits and CheckInputs; of ModelAsItIs where a classifier has fewer classes than the data.
absl::StatusOr<std::unique_ptr<SampleSource>> SamplesOfData(TrainConfig& config,
                                                            const std::string& model);

// The first `count` of the samples of one batch; what has no such axis stays whole, as does the
// batch of a graph that takes no other.
std::vector<at::Tensor> FirstSamplesOf(const Graph& graph, const std::vector<at::Tensor>& inputs,
                                       int64_t count);

struct RandomSamplesOptions {
  // Extents of one sample by the input's name, for what the file leaves open; those that nobody
  // says are 224 for the last two of four axes and 16 for others.
  std::map<std::string, Shape> shapes;
  int64_t test_samples = 8;
  uint64_t seed = 1;
};

// Floats are normal with mean 0 and deviation 1; integers are
// uniform over the rows of the table that they index (Gather), else all 1; bool is true. The batch
// is the file's, or 1 sample where it is dynamic. InvalidArgument for a shape that does not fit.
absl::StatusOr<std::unique_ptr<SampleSource>> RandomSamples(const std::string& model,
                                                            const RandomSamplesOptions& options);

}  // namespace ds
