// A network of one's own as a plugin: a shared library that ds_train loads and builds by name.
//
//   ds_train --config CONFIG model.plugin=libown_model.so model.name=tiny
//
// It is linked with ds::plugin alone: the code, and the registry, are the program's.
#include "graph/builder.h"
#include "graph/zoo/zoo.h"

namespace {

// Two convolutions with batch norms and a classifier. Names are those of the nodes and, with
// ".weight" and the like, of the parameters in checkpoints and ONNX files.
absl::StatusOr<ds::Graph> Tiny(const ds::ModelOptions& options) {
  ds::Builder b("tiny", options.seed);
  ds::ValueId x = b.Input("input", ds::DType::kFloat32,
                          {ds::kDynamicDim, options.channels, options.height, options.width});
  x = b.Relu(b.BatchNorm(b.Conv(x, "conv1", {.channels = 8, .stride = 2}), "norm1"));
  x = b.Relu(b.BatchNorm(b.Conv(x, "conv2", {.channels = 16, .stride = 2}), "norm2"));
  b.Output(b.Linear(b.Flatten(b.GlobalAveragePool(x)), "classifier", options.classes), "logits");
  return b.Finish();
}

}  // namespace

extern "C" void ds_register_models() {
  // A name that is taken already is refused; the program that loads the plugin then says so.
  ds::RegisterModel("tiny", Tiny).IgnoreError();
}
