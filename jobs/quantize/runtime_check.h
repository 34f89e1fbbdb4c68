// Runs a written file in ONNX Runtime, where the environment has it, beside our own executor: a
// runtime may fuse what a file says into something else.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "jobs/quantize/agreement.h"

namespace ds {

struct RuntimeCheckOptions {
  std::string python = "python3";  // a path, or a name that PATH finds
  // How much further from the float model than our executor's results the runtime's may be.
  double most_lost_db = 3;
  // Beyond which nobody asks: two runtimes add in different orders.
  double enough_db = 40;
};

struct RuntimeOutput {
  std::string output;
  double ours_db = 0;     // our executor, running the file's graph, against the float model
  double runtime_db = 0;  // ONNX Runtime, running the file, against the float model
  double between_db = 0;  // ONNX Runtime against our executor
};

struct RuntimeCheck {
  std::string version;  // of ONNX Runtime; empty: not checked
  std::string absent;   // why it was not checked
  std::vector<RuntimeOutput> outputs;
  std::vector<std::string> faults;  // outputs that lost more than they may
};

// `quantized`: the graph that `file` was written from. A Python without onnxruntime and numpy is
// no error: `absent` says so. FailedPrecondition where ONNX Runtime refuses the file, with its
// words; errors of the executor.
absl::StatusOr<RuntimeCheck> CheckInRuntime(const std::string& file, const Graph& exact,
                                            const Graph& quantized,
                                            const std::vector<at::Tensor>& inputs,
                                            const RuntimeCheckOptions& options = {});

}  // namespace ds
