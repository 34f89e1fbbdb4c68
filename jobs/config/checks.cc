#include "jobs/config/checks.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "trainer/optim/metric_names.h"

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
  if (data.set.type == "idx") return 1;
  if (data.set.type == "cifar10" || data.set.type == "cifar100") return 3;
  return data.set.type == "synthetic" ? static_cast<size_t>(data.set.channels) : 0;
}

absl::Status CheckData(const DataConfig& data, const PositionOf& at) {
  if (data.loader.mean.size() != data.loader.stddev.size()) {
    return YamlError(
        at(data.loader.stddev.empty() ? "data.mean" : "data.stddev"),
        absl::StrCat("'data.mean' has ", data.loader.mean.size(), " values and 'data.stddev' ",
                     data.loader.stddev.size(), "; give both one value a channel, or neither"));
  }
  const size_t channels = KnownChannels(data);
  if (!data.loader.mean.empty() && channels != 0 && data.loader.mean.size() != channels) {
    return YamlError(at("data.mean"), absl::StrCat("'data.mean' has ", data.loader.mean.size(),
                                                   " values, but ", data.set.type, " data has ",
                                                   channels, " channel", channels == 1 ? "" : "s"));
  }
  if (data.partition.site >= data.partition.sites) {
    return YamlError(
        at("data.partition.site"),
        absl::StrCat("'data.partition.site' is ", data.partition.site, ", but of ",
                     data.partition.sites, " sites the last is ", data.partition.sites - 1));
  }
  const std::string& type = data.set.type;
  if (type == "csv" && data.set.targets.empty())
    return YamlError(at("data.type"),
                     "'data.type' is csv: name the column to be learned in 'data.target'");
  if (type != "text" && type != "tensors" && type != "csv") return absl::OkStatus();
  if (type == "text" && !data.loader.mean.empty())
    return YamlError(at("data.mean"), "text data has no pixels to normalise");
  const AugmentOptions none = {.rand_augment_magnitude =
                                   data.loader.augment.rand_augment_magnitude};
  if (data.loader.augment == none) return absl::OkStatus();
  return YamlError(at("data.augment"),
                   absl::StrCat("'data.augment' is for images, and 'data.type' is ", type));
}

absl::Status CheckOptimizer(const OptimizerOptions& optimizer, const PositionOf& at) {
  if (optimizer.name == "sgd" && optimizer.nesterov && optimizer.momentum == 0) {
    return YamlError(at("optimizer.momentum"),
                     "'optimizer.nesterov' needs a momentum above 0; set "
                     "'nesterov: false' for plain sgd");
  }
  return absl::OkStatus();
}

absl::Status CheckLoss(const TrainConfig& config, const PositionOf& at) {
  const LossOptions& loss = config.loss;
  for (const std::string& metric : loss.metrics) {
    if (GoesWith(metric, loss.name)) continue;
    return YamlError(at("loss.metrics"),
                     absl::StrCat("'", metric, "' does not go with 'loss.name: ", loss.name,
                                  "'; use ", absl::StrJoin(MetricsOf(loss.name), ", ")));
  }
  const bool of_numbers = !IsOfClasses(loss.name) && loss.name != "bce";
  if (of_numbers &&
      (loss.label_smoothing > 0 || !loss.class_weights.empty() || loss.ignore_index.has_value())) {
    return YamlError(at("loss"),
                     absl::StrCat("'loss.name: ", loss.name,
                                  "' is of numbers; 'label_smoothing', 'class_weights' and "
                                  "'ignore_index' are for cross_entropy, nll and bce"));
  }
  if (config.quantization.distillation.weight > 0 && !IsOfClasses(loss.name)) {
    return YamlError(at("quantization.distillation"),
                     absl::StrCat("'quantization.distillation' is of shares of classes, and "
                                  "'loss.name' is ",
                                  loss.name));
  }
  return absl::OkStatus();
}

absl::Status CheckSchedule(const ScheduleOptions& schedule, int64_t epochs, const PositionOf& at) {
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

absl::Status CheckCompression(const CompressionOptions& compression, const PositionOf& at) {
  if ((compression.codec.bucket & (compression.codec.bucket - 1)) != 0) {
    return YamlError(at("compression.bucket"),
                     absl::StrCat("'compression.bucket' is ", compression.codec.bucket,
                                  "; it must be a power of two, as 512"));
  }
  const int bits = compression.codec.bits;
  const bool few_bits = bits != CompressionOptions::kAutoBits && bits <= 3;
  if (compression.codec.rotate && !(compression.method == "uniform" && few_bits)) {
    return YamlError(at("compression.rotate"),
                     "'compression.rotate' is for 'method: uniform' with 1 to 3 bits; more bits "
                     "gain nothing from it");
  }
  return absl::OkStatus();
}

absl::Status CheckSync(const TrainConfig& config, const PositionOf& at) {
  if (config.trainer.local_steps.every > 1 && config.trainer.exchange.compression.hierarchical) {
    return YamlError(
        at("sync.every"),
        "local steps exchange whole changes of the weights, for which 'compression.hierarchical' "
        "is not built; remove one of the two");
  }
  return absl::OkStatus();
}

bool IsExportName(const std::string& name) {
  const auto digit = [](char c) { return c >= '2' && c <= '8'; };
  return name.size() == 4 && name[0] == 'w' && digit(name[1]) && name[2] == 'a' && digit(name[3]);
}

// Stages and the epochs at which they end.
absl::Status CheckStages(const QuantizationConfig& quantization, int64_t epochs,
                         const PositionOf& at) {
  const QuantizerOptions& quantizer = quantization.quantizer.options;
  const std::vector<int64_t>&bits = quantization.stage_bits, &ends = quantization.stage_epochs;
  if (bits.size() != ends.size()) {
    return YamlError(
        at("quantization.stage_epochs"),
        absl::StrCat("'quantization.stage_bits' has ", bits.size(), " entries and 'stage_epochs' ",
                     ends.size(), "; give each stage the epoch at which it ends"));
  }
  for (size_t i = 0; i < bits.size(); ++i) {
    const int64_t begin = i == 0 ? quantization.start_epoch : ends[i - 1];
    if (ends[i] <= begin || ends[i] >= epochs) {
      return YamlError(at("quantization.stage_epochs"),
                       absl::StrCat("'quantization.stage_epochs' must rise, from above ",
                                    quantization.start_epoch, " to below 'run.epochs' (", epochs,
                                    "); ", ends[i], " does not fit"));
    }
    const int64_t next =
        i + 1 < bits.size() ? bits[i + 1] : std::min(quantizer.bits, quantizer.activation_bits);
    if (bits[i] <= next) {
      return YamlError(
          at("quantization.stage_bits"),
          absl::StrCat(
              "'quantization.stage_bits' must fall, and end above 'bits' or 'activation_bits'; ",
              bits[i], " is followed by ", next));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckQuantization(const TrainConfig& config, const PositionOf& at) {
  const QuantizationConfig& quantization = config.quantization;
  for (const std::string& name : quantization.exports) {
    if (IsExportName(name)) continue;
    return YamlError(
        at("quantization.exports"),
        absl::StrCat(
            "'", name,
            "' names no export: write the bits of weights and activations, 2 to 8, as w4a8"));
  }
  if (quantization.mode != "ptq" && !quantization.exports.empty()) {
    return YamlError(
        at("quantization.exports"),
        "'quantization.exports' is for 'mode: ptq': training with the rounding gives one file");
  }
  if (quantization.mode != "qat") {
    const bool trains = quantization.start_epoch > 0 || !quantization.stage_bits.empty() ||
                        !quantization.stage_epochs.empty() || quantization.distillation.weight > 0;
    if (!trains) return absl::OkStatus();
    return YamlError(at("quantization"),
                     "'start_epoch', 'stage_bits', 'stage_epochs' and 'distillation' are for "
                     "'quantization.mode: qat'");
  }
  if (quantization.start_epoch >= config.run.epochs) {
    return YamlError(
        at("quantization.start_epoch"),
        absl::StrCat("'quantization.start_epoch' (", quantization.start_epoch,
                     ") leaves no epoch of 'run.epochs' (", config.run.epochs, ") to it"));
  }
  return CheckStages(quantization, config.run.epochs, at);
}

absl::Status CheckPruning(const TrainConfig& config, const PositionOf& at) {
  const PruningConfig& pruning = config.pruning;
  const auto error = [&at](const char* key, const auto&... text) {
    return YamlError(at(key), absl::StrCat(text...));
  };
  if (pruning.mode == "none") {
    if (pruning.start_epoch == 0 && pruning.end_epoch == 0 && pruning.channels.options.keep.empty())
      return absl::OkStatus();
    return error(
        "pruning",
        "'start_epoch', 'end_epoch' and 'keep' are for a 'pruning.mode' of channels or 2:4");
  }
  if (pruning.end_epoch != 0 && pruning.mode == "2:4") {
    return error("pruning.end_epoch",
                 "'pruning.end_epoch' is for 'mode: channels': the 2:4 pattern is made at once");
  }
  if (pruning.end_epoch != 0 && pruning.end_epoch < pruning.start_epoch) {
    return error("pruning.end_epoch", "'pruning.end_epoch' (", pruning.end_epoch,
                 ") is before 'start_epoch' (", pruning.start_epoch, ")");
  }
  const int64_t last = std::max(pruning.start_epoch, pruning.end_epoch);
  if (last >= config.run.epochs) {
    return error(pruning.end_epoch != 0 ? "pruning.end_epoch" : "pruning.start_epoch",
                 "pruning ends after epoch ", last, " and leaves no epoch of 'run.epochs' (",
                 config.run.epochs, ") to train what is left");
  }
  if (pruning.mode == "2:4" && config.trainer.local_steps.every > 1) {
    return error("pruning.mode",
                 "'pruning.mode: 2:4' is not built for local steps; remove 'sync.every'");
  }
  if (config.quantization.mode != "qat") return absl::OkStatus();
  if (pruning.mode == "2:4") {
    return error("pruning.mode",
                 "'pruning.mode: 2:4' is not built for 'quantization.mode: qat', which would fill "
                 "the pattern; use ptq");
  }
  if (last < config.quantization.start_epoch) return absl::OkStatus();
  return error("quantization.start_epoch", "the last channels go after epoch ", last,
               ": 'quantization.start_epoch' must be above it");
}

absl::Status CheckGating(const TrainConfig& config, const PositionOf& at) {
  const GatingConfig& gating = config.gating;
  const auto error = [&at](const char* key, const auto&... text) {
    return YamlError(at(key), absl::StrCat(text...));
  };
  if (gating.mode == "none") {
    if (gating.gates.keep.empty()) return absl::OkStatus();
    return error("gating.keep", "'gating.keep' is for a 'gating.mode' of channels");
  }
  if (gating.ramp_epochs >= static_cast<double>(config.run.epochs)) {
    return error("gating.ramp_epochs", "'gating.ramp_epochs' (", gating.ramp_epochs,
                 ") leaves no epoch of 'run.epochs' (", config.run.epochs,
                 ") with the whole share");
  }
  if (config.pruning.mode != "none") {
    return error("gating.mode",
                 "gating and pruning are not built for one run; prune first, then gate what is "
                 "left ('model.onnx')");
  }
  if (config.quantization.mode == "qat") {
    return error("gating.mode", "gating is not built for 'quantization.mode: qat'; use ptq");
  }
  if (config.trainer.local_steps.every > 1) {
    return error("gating.mode",
                 "gating is not built for local steps, whose ranks do not count together; remove "
                 "'sync.every'");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckTrainConfig(const TrainConfig& config, const PositionOf& position_of) {
  DS_RETURN_IF_ERROR(CheckModel(config.model, position_of));
  DS_RETURN_IF_ERROR(CheckData(config.data, position_of));
  DS_RETURN_IF_ERROR(CheckOptimizer(config.optimizer, position_of));
  DS_RETURN_IF_ERROR(CheckLoss(config, position_of));
  DS_RETURN_IF_ERROR(CheckCompression(config.trainer.exchange.compression, position_of));
  DS_RETURN_IF_ERROR(CheckSync(config, position_of));
  DS_RETURN_IF_ERROR(CheckQuantization(config, position_of));
  DS_RETURN_IF_ERROR(CheckPruning(config, position_of));
  DS_RETURN_IF_ERROR(CheckGating(config, position_of));
  return CheckSchedule(config.schedule, config.run.epochs, position_of);
}

}  // namespace ds
