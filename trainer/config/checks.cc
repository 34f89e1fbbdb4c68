#include "trainer/config/checks.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {
namespace {

absl::Status CheckModel(const ModelConfig& model, const PositionOf& at) {
  if (model.name.empty() && model.onnx.empty()) {
    return YamlError(at("model"),
                     "no model: set 'model.name' (a zoo model, as resnet8) or "
                     "'model.onnx' (a file to fine-tune)");
  }
  if (!model.name.empty() && !model.onnx.empty()) {
    return YamlError(at("model.onnx"),
                     "'model.name' and 'model.onnx' exclude each other; remove "
                     "one, or set the one from an included file to \"\"");
  }
  if (!model.plugin.empty() && model.name.empty()) {
    return YamlError(
        at("model.plugin"),
        "'model.plugin' is set, but no 'model.name' says which of its models to train");
  }
  return absl::OkStatus();
}

// Channels that the data set's format fixes; 0: known only once it is read.
size_t KnownChannels(const DataConfig& data) {
  if (data.type == "idx") return 1;
  if (data.type == "cifar10" || data.type == "cifar100") return 3;
  return data.type == "synthetic" ? static_cast<size_t>(data.channels) : 0;
}

absl::Status CheckData(const DataConfig& data, const PositionOf& at) {
  if (data.mean.size() != data.stddev.size()) {
    return YamlError(
        at(data.stddev.empty() ? "data.mean" : "data.stddev"),
        absl::StrCat("'data.mean' has ", data.mean.size(), " values and 'data.stddev' ",
                     data.stddev.size(), "; give both one value a channel, or neither"));
  }
  const size_t channels = KnownChannels(data);
  if (!data.mean.empty() && channels != 0 && data.mean.size() != channels) {
    return YamlError(at("data.mean"),
                     absl::StrCat("'data.mean' has ", data.mean.size(), " values, but ", data.type,
                                  " data has ", channels, " channel", channels == 1 ? "" : "s"));
  }
  if (data.type != "text") return absl::OkStatus();
  if (!data.mean.empty()) return YamlError(at("data.mean"), "text data has no pixels to normalise");
  if (data.augment.crop > 0 || data.augment.flip || data.augment.cutout > 0) {
    return YamlError(at("data.augment"), "'data.augment' is for images, and 'data.type' is text");
  }
  return absl::OkStatus();
}

absl::Status CheckOptimizer(const OptimizerConfig& optimizer, const PositionOf& at) {
  if (optimizer.name == "sgd" && optimizer.nesterov && optimizer.momentum == 0) {
    return YamlError(at("optimizer.momentum"),
                     "'optimizer.nesterov' needs a momentum above 0; set "
                     "'nesterov: false' for plain sgd");
  }
  return absl::OkStatus();
}

absl::Status CheckSchedule(const ScheduleConfig& schedule, int64_t epochs, const PositionOf& at) {
  for (size_t i = 1; i < schedule.milestones.size(); ++i) {
    if (schedule.milestones[i] > schedule.milestones[i - 1]) continue;
    return YamlError(at("schedule.milestones"),
                     absl::StrCat("'schedule.milestones' must rise, but ", schedule.milestones[i],
                                  " follows ", schedule.milestones[i - 1]));
  }
  if (schedule.name == "step" && schedule.milestones.empty()) {
    return YamlError(at("schedule.name"),
                     "the step schedule needs 'schedule.milestones', as [30, 60, 80]");
  }
  if (schedule.name == "one_cycle" && schedule.warmup_epochs > 0) {
    return YamlError(at("schedule.warmup_epochs"),
                     "one_cycle warms up by itself; use 'schedule.start_fraction' instead");
  }
  if (schedule.warmup_epochs > static_cast<double>(epochs)) {
    return YamlError(at("schedule.warmup_epochs"),
                     absl::StrCat("'schedule.warmup_epochs' (", schedule.warmup_epochs,
                                  ") is longer than 'run.epochs' (", epochs, ")"));
  }
  return absl::OkStatus();
}

absl::Status CheckCompression(const CompressionConfig& compression, const PositionOf& at) {
  if ((compression.bucket & (compression.bucket - 1)) != 0) {
    return YamlError(at("compression.bucket"), absl::StrCat("'compression.bucket' is ", compression.bucket,
                                                            "; it must be a power of two, as 512"));
  }
  const bool few_bits = compression.bits.size() == 1 && compression.bits[0] <= '3';
  if (compression.rotate && !(compression.method == "uniform" && few_bits)) {
    return YamlError(at("compression.rotate"),
                     "'compression.rotate' is for 'method: uniform' with 1 to 3 bits; more bits gain nothing from it");
  }
  return absl::OkStatus();
}

absl::Status CheckSync(const TrainConfig& config, const PositionOf& at) {
  if (config.sync.every > 1 && config.compression.hierarchical) {
    return YamlError(at("sync.every"), "local steps exchange whole changes of the weights, for which 'compression.hierarchical' "
                                       "is not built; remove one of the two");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckTrainConfig(const TrainConfig& config, const PositionOf& position_of) {
  DS_RETURN_IF_ERROR(CheckModel(config.model, position_of));
  DS_RETURN_IF_ERROR(CheckData(config.data, position_of));
  DS_RETURN_IF_ERROR(CheckOptimizer(config.optimizer, position_of));
  DS_RETURN_IF_ERROR(CheckCompression(config.compression, position_of));
  DS_RETURN_IF_ERROR(CheckSync(config, position_of));
  return CheckSchedule(config.schedule, config.run.epochs, position_of);
}

}  // namespace ds
