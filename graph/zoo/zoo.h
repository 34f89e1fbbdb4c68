// The model zoo: builder functions by name. A user's own builder is registered the same way, from
// the program or from a shared library (`model.plugin`) that exports `extern "C" void
// ds_register_models()`.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "graph/graph.h"

namespace ds {

struct ModelOptions {
  int64_t channels = 3;           // input channels, 1..65536
  int64_t height = 32;            // input height, pixels
  int64_t width = 32;             // input width, pixels
  int64_t classes = 10;           // outputs of the classifier; vocabulary size for text models
  int64_t sequence_length = 128;  // text models: tokens
  double dropout = 0.0;           // where the architecture has dropout, [0, 1)
  uint64_t seed = 0;              // of the initial weights
};

// Builds a graph with one input `input` [?, C, H, W] float32 (text: [?, T] int64) and one output
// `logits` [?, classes] (text: [?, T, classes]), weights initialised from `seed` as the paper (or
// torchvision) does it.
using ModelBuilder = std::function<absl::StatusOr<Graph>(const ModelOptions&)>;

// AlreadyExists if the name is taken. Thread-safe.
absl::Status RegisterModel(std::string name, ModelBuilder builder);
// NotFound lists the known names, nearest first.
absl::StatusOr<Graph> BuildModel(absl::string_view name, const ModelOptions& options);
// Sorted.
std::vector<std::string> ModelNames();
// Loads a shared library and calls its ds_register_models(). NotFound / InvalidArgument with
// dlopen's words.
absl::Status LoadModelPlugin(const std::string& path);

}  // namespace ds
