#include "jobs/config/train_schema.h"

#include "base/status.h"
#include "config/reader.h"
#include "jobs/config/checks.h"
#include "jobs/config/train_fields.h"

namespace ds {
namespace {

std::vector<ConfigSection> Sections() {
  return {
      {"run", "The run as a whole."},
      {"model", "What is trained: exactly one of `name` and `onnx`."},
      {"data", "Where samples come from and how they are batched."},
      {"data.augment",
       "Random changes to training images, a pure function of seed, epoch and sample."},
      {"data.partition",
       "One site's share of the data set, as if it lay with several owners (federated.md); a pure "
       "function of labels and seed."},
      {"optimizer", "How gradients become steps."},
      {"schedule", "The learning rate over the run."},
      {"loss", "What is minimised."},
      {"precision", "Number format of matrix products and convolutions."},
      {"ema", "Moving average of the weights."},
      {"comm", "How ranks exchange gradients."},
      {"compression",
       "Fewer bytes a gradient (compression.md). `compression: auto` stands for `compression: "
       "{method: auto}`, and so for the others.",
       "method"},
      {"sync",
       "Local steps, for links slower still (local_steps.md): ranks exchange what they have "
       "changed, not gradients."},
      {"quantization",
       "Integer files for ONNX Runtime beside model.onnx (qat.md). `quantization: qat` stands for "
       "`quantization: {mode: qat}`.",
       "mode"},
      {"pruning",
       "Channels or weights that leave while it trains (pruning.md). `pruning: channels` stands "
       "for `pruning: {mode: channels}`.",
       "mode"},
      {"gating",
       "Channels that close image by image (gating.md). `gating: channels` stands for `gating: "
       "{mode: channels}`.",
       "mode"},
      {"checkpoint", "What `--resume` starts from."},
      {"log", "What is written down while training."},
  };
}

}  // namespace

ConfigSchema TrainSchema(TrainConfig& config) {
  return {.sections = Sections(),
          .fields = TrainFields(config),
          .check = [&config](const PositionOf& at) { return CheckTrainConfig(config, at); },
          .example = {.yaml = "model: {name: resnet8}",
                      .override = "optimizer.learning_rate=0.05",
                      .file = "configs/quickstart.yaml"}};
}

absl::StatusOr<TrainConfig> ReadTrainConfig(const std::string& path,
                                            const std::vector<std::string>& overrides) {
  TrainConfig config;
  DS_RETURN_IF_ERROR(ReadConfig(TrainSchema(config), path, overrides));
  return config;
}

absl::StatusOr<TrainConfig> ParseTrainConfig(absl::string_view yaml, absl::string_view origin,
                                             const std::vector<std::string>& overrides) {
  TrainConfig config;
  DS_RETURN_IF_ERROR(ParseConfig(TrainSchema(config), yaml, origin, overrides));
  return config;
}

std::string PrintTrainConfig(const TrainConfig& config) {
  TrainConfig copy = config;
  return PrintConfig(TrainSchema(copy));
}

std::string TrainConfigReference() {
  TrainConfig defaults;
  return ConfigReference(TrainSchema(defaults));
}

}  // namespace ds
