#include "jobs/model_output.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace ds {
namespace {

constexpr char kSuffix[] = ".onnx";

}  // namespace

absl::Status CheckModelOutput(const std::string& model, const std::string& output) {
  if (!absl::EndsWith(output, kSuffix)) {
    return absl::InvalidArgumentError(
        absl::StrCat("output \"", output, "\" does not end in .onnx"));
  }
  if (output == model) {
    return absl::InvalidArgumentError(
        "the output is the model itself: give another file, the float model is still needed");
  }
  return absl::OkStatus();
}

std::string BesideModel(absl::string_view output, absl::string_view ending) {
  return absl::StrCat(absl::StripSuffix(output, kSuffix), ending);
}

}  // namespace ds
