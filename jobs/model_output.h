// The files that a job leaves which changes a model: the model, and reports beside it.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace ds {

// InvalidArgument if `output` does not end in .onnx, or is `model`, which is still needed.
absl::Status CheckModelOutput(const std::string& model, const std::string& output);

// `output` with `ending` (".json") in place of .onnx.
std::string BesideModel(absl::string_view output, absl::string_view ending);

}  // namespace ds
