// A user's model in a shared library of its own, as model.plugin loads it. Linked with nothing of
// ours: the program that loads it has it all.
#include "graph/builder.h"
#include "graph/zoo/zoo.h"

namespace {

absl::StatusOr<ds::Graph> PluginNet(const ds::ModelOptions& options) {
  ds::Builder b("plugin_net", options.seed);
  ds::ValueId x = b.Input("input", ds::DType::kFloat32,
                          {ds::kDynamicDim, options.channels, options.height, options.width});
  x = b.Relu(b.Conv(x, "conv", {.channels = 4}));
  b.Output(b.Linear(b.Flatten(b.GlobalAveragePool(x)), "fc", options.classes), "logits");
  return b.Finish();
}

}  // namespace

extern "C" void ds_register_models() {
  // A second registration is refused and tells; the loader reports it.
  ds::RegisterModel("plugin_net", PluginNet).IgnoreError();
}
