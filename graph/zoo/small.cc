// lenet and mlp.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "graph/builder.h"
#include "graph/zoo/builtin.h"

namespace ds::zoo {

absl::StatusOr<Graph> LeNet(const ModelOptions& options) {
  if (std::min(options.height, options.width) < 12) {
    return absl::InvalidArgumentError(
        absl::StrCat("lenet needs images of at least 12x12 pixels, not ", options.height, "x",
                     options.width, "; resize them or choose mlp"));
  }
  Builder b("lenet", options.seed);
  ValueId x = b.Input("input", DType::kFloat32,
                      {kDynamicDim, options.channels, options.height, options.width});
  x = b.Relu(b.Conv(x, "conv1", {.channels = 6, .kernel = 5, .bias = true}));
  x = b.MaxPool(x, {});
  x = b.Relu(b.Conv(x, "conv2", {.channels = 16, .kernel = 5, .padding = 0, .bias = true}));
  x = b.Flatten(b.MaxPool(x, {}));
  x = b.Relu(b.Linear(x, "fc1", 120));
  x = b.Relu(b.Linear(x, "fc2", 84));
  x = b.Dropout(x, options.dropout);
  b.Output(b.Linear(x, "fc3", options.classes), "logits");
  return b.Finish();
}

absl::StatusOr<Graph> Mlp(const ModelOptions& options) {
  Builder b("mlp", options.seed);
  ValueId x = b.Input("input", DType::kFloat32,
                      {kDynamicDim, options.channels, options.height, options.width});
  x = b.Flatten(x);
  x = b.Dropout(b.Relu(b.Linear(x, "fc1", 512)), options.dropout);
  x = b.Dropout(b.Relu(b.Linear(x, "fc2", 256)), options.dropout);
  b.Output(b.Linear(x, "fc3", options.classes), "logits");
  return b.Finish();
}

}  // namespace ds::zoo
