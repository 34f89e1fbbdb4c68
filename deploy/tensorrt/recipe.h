// How TensorRT's builder is called for a file, and calling it where it is installed.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "graph/graph.h"

namespace ds {

// Samples in a batch for which the engine is built, where the batch is dynamic.
struct TrtBatches {
  int64_t least = 1;
  int64_t usual = 8;  // what its kernels are chosen for
  int64_t most = 64;
};

// A shell script that builds `<name>.engine` from `onnx_file`, a path relative to the script, with
// trtexec: strongly typed, as explicit quantisation wants it, shapes for inputs whose first extent
// is dynamic. Another dynamic extent becomes a variable that the caller of the script must set.
// InvalidArgument for batches that are not 1 <= least <= usual <= most.
absl::StatusOr<std::string> TrtRecipe(const Graph& graph, const std::string& onnx_file,
                                      const TrtBatches& batches);

struct TrtBuild {
  bool ran = false;
  bool succeeded = false;
  std::string message;  // one line: "not run: ...", or how it ended
};

// Runs the recipe where trtexec is in PATH, its output going to `log`. Blocks until it ends, which
// takes minutes. Starts a process; not for use beside a running MPI job.
TrtBuild RunTrtRecipe(const std::string& recipe, const std::string& log);

}  // namespace ds
