#include "jobs/config/train_fields.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "codec/option_words.h"
#include "trainer/optim/metric_names.h"

namespace ds {
namespace {

// Sides and channel counts beyond these are typing errors, and their products would overflow.
constexpr double kMaxSide = 65536;
constexpr double kMaxThreads = 1024;
constexpr double kMaxBatch = 1 << 20;

using Fields = std::vector<Field>;

void AddRun(RunConfig& c, MixedPrecisionTrainerOptions& trainer, Fields& out) {
  out.push_back({"run", "name", &c.name, PlainName(), "name of the run's folder"});
  out.push_back({"run", "output", &c.output, Any(), "folder that holds the run's folder"});
  out.push_back({"run", "seed", &c.seed, AtLeast(0),
                 "seeds initial weights, shuffling, augmentation and dropout"});
  out.push_back({"run", "epochs", &c.epochs, Between(1, 1e6), "passes over the training set"});
  out.push_back(
      {"run", "threads", &c.threads, Between(0, kMaxThreads),
       "compute threads a rank; 0: its share of the cores that affinity and quota leave"});
  out.push_back(
      {"run", "deterministic", &c.deterministic, Any(), "the same seed gives the same bits"});
  out.push_back(
      {"run", "verify_replicas", &trainer.verify_replicas, Any(),
       "compare the ranks' whole state, bit for bit, at every evaluation; a debug check"});
}

void AddModel(ModelConfig& c, Fields& out) {
  out.push_back({"model", "name", &c.name, Any(),
                 "model of the zoo or of the plugin; exclusive with `onnx`"});
  out.push_back({"model", "onnx", &c.onnx, Any(),
                 "ONNX file to fine-tune; its head is replaced where the classes differ"});
  out.push_back(
      {"model", "plugin", &c.plugin, Any(), "shared library that registers models of your own"});
  out.push_back({"model", "freeze", &c.freeze, Any(),
                 "patterns on names of tensors that shall not train (`block.0.*`); `ds_export "
                 "--describe` names them"});
  out.push_back({"model", "train", &c.train, Any(),
                 "patterns on names of those that shall, also where `freeze` matches them"});
  out.push_back({"model", "channels", &c.options.channels, Between(0, kMaxSide),
                 "input channels; 0: the data's"});
  out.push_back({"model", "height", &c.options.height, Between(0, kMaxSide),
                 "input height, pixels; 0: the data's"});
  out.push_back({"model", "width", &c.options.width, Between(0, kMaxSide),
                 "input width, pixels; 0: the data's"});
  out.push_back(
      {"model", "classes", &c.options.classes, Between(0, 1e6), "outputs; 0: the data's"});
  out.push_back({"model", "sequence_length", &c.options.sequence_length, Between(0, 1e6),
                 "text models: tokens; 0: the data's"});
  out.push_back({"model", "dropout", &c.options.dropout, Fraction(),
                 "probability of dropping, where the architecture has dropout"});
}

void AddData(DataConfig& c, Fields& out) {
  out.push_back(
      {"data", "type", &c.set.type,
       OneOf({"idx", "cifar10", "cifar100", "images", "text", "tensors", "csv", "synthetic"}),
       "format of the data set (idx: MNIST and Fashion-MNIST)"});
  out.push_back({"data", "path", &c.set.path, Any(),
                 "its folder (text: its file; tensors, csv: either); empty: the usual places"});
  out.push_back({"data", "train_limit", &c.train_limit, AtLeast(0),
                 "use the first n training samples; 0: all"});
  out.push_back(
      {"data", "test_limit", &c.test_limit, AtLeast(0), "use the first n test samples; 0: all"});
  out.push_back(
      {"data", "batch_size", &c.loader.batch_size, Between(1, kMaxBatch), "samples a rank"});
  out.push_back({"data", "test_batch_size", &c.test_batch_size, Between(1, kMaxBatch),
                 "samples a rank while testing"});
  out.push_back(
      {"data", "threads", &c.loader.threads, Between(1, kMaxThreads), "loader threads a rank"});
  out.push_back({"data", "image_size", &c.set.image_size, Between(0, kMaxSide),
                 "images: shorter side resized to this, then centre crop, pixels; 0: as they are"});
  out.push_back({"data", "exif", &c.set.exif, OneOf({"ignore", "apply"}),
                 "images: what becomes of the camera's orientation; apply turns pictures upright"});
  out.push_back({"data", "target", &c.set.targets, Any(),
                 "csv: column(s) to be learned; tensors: the array of labels; empty: `labels` or "
                 "`targets`, where there is one"});
  out.push_back(
      {"data", "target_type", &c.set.target_type, OneOf({"auto", "class", "number"}),
       "csv: what the target is; auto: a class if it is text, or the loss is for classes"});
  out.push_back({"data", "features", &c.set.features, Any(),
                 "csv: columns to learn from; empty: all but the target"});
  out.push_back({"data", "categories", &c.set.categories, Any(),
                 "csv: columns of words or codes, one input a value"});
  out.push_back({"data", "validation", &c.set.validation_fraction, Between(0, 0.99),
                 "share that is the test split: of a text its end; of images, tensors and csv "
                 "without splits of their own so many samples, drawn once for all"});
  out.push_back({"data", "channels", &c.set.channels, Between(1, kMaxSide), "synthetic: channels"});
  out.push_back(
      {"data", "height", &c.set.height, Between(1, kMaxSide), "synthetic: height, pixels"});
  out.push_back({"data", "width", &c.set.width, Between(1, kMaxSide), "synthetic: width, pixels"});
  out.push_back({"data", "classes", &c.set.classes, Between(2, 1e6), "synthetic: classes"});
  out.push_back({"data", "size", &c.set.size, Between(1, 1e9), "synthetic: training samples"});
  out.push_back({"data", "sequence_length", &c.set.sequence_length, Between(1, 1e6),
                 "text: tokens a sample"});
  out.push_back({"data", "mean", &c.loader.mean, Any(),
                 "a channel, on pixels scaled to 0..1; empty: measured from the training set"});
  out.push_back({"data", "stddev", &c.loader.stddev, Above(0), "a channel, as `mean`"});
  out.push_back({"data", "drop_last", &c.loader.drop_last, Any(),
                 "leave out the last training batch where it is smaller than the others"});
  out.push_back({"data.augment", "crop", &c.loader.augment.crop_padding, Between(0, 1024),
                 "random crop after padding by this many pixels; 0: off"});
  out.push_back({"data.augment", "flip", &c.loader.augment.horizontal_flip, Any(),
                 "mirror half of the images"});
  out.push_back({"data.augment", "cutout", &c.loader.augment.cutout, Between(0, 1024),
                 "side of a square that is blanked, pixels; 0: off"});
  AugmentOptions& augment = c.loader.augment;
  out.push_back(
      {"data.augment", "resized_crop", &augment.resized_crop, Between(0, 1),
       "random part of the picture resized to the network's size (RandomResizedCrop): its "
       "least share of the area, usually 0.08; 0: off"});
  out.push_back({"data.augment", "brightness", &augment.brightness, Between(0, 100),
                 "colour jitter: factor from 1 - x to 1 + x; 0: off"});
  out.push_back(
      {"data.augment", "contrast", &augment.contrast, Between(0, 100), "as `brightness`"});
  out.push_back(
      {"data.augment", "saturation", &augment.saturation, Between(0, 100), "as `brightness`"});
  out.push_back({"data.augment", "hue", &augment.hue, Between(0, 0.5),
                 "colour jitter: turn of the hue by up to this share of the circle; 0: off"});
  out.push_back({"data.augment", "rand_augment", &augment.rand_augment, Between(0, 14),
                 "RandAugment: operations a picture; 0: off"});
  out.push_back({"data.augment", "rand_augment_magnitude", &augment.rand_augment_magnitude,
                 Between(0, 30), "RandAugment: strength of each"});
  out.push_back({"data.augment", "mixup", &augment.mixup, Between(0, 1e6),
                 "mixes samples and labels by a share from Beta(x, x), usually 0.2; 0: off"});
  out.push_back({"data.augment", "cutmix", &augment.cutmix, Between(0, 1e6),
                 "as `mixup`, by pasting a box, usually 1; both: one of them by a coin; 0: off"});
  PartitionOptions& partition = c.partition;
  out.push_back({"data.partition", "sites", &partition.sites, Between(1, 1 << 20),
                 "sites that share the data set; 1: it is not shared"});
  out.push_back({"data.partition", "site", &partition.site, Between(0, (1 << 20) - 1),
                 "which of them this is, from 0"});
  out.push_back({"data.partition", "alpha", &partition.alpha, AtLeast(0),
                 "of Dirichlet's distribution by which each class is dealt: the smaller, the fewer "
                 "classes a site has; 0: equal shares at random"});
  out.push_back({"data.partition", "seed", &partition.seed, AtLeast(0),
                 "of the shares, the same at all sites"});
}

void AddOptimizer(OptimizerOptions& c, MixedPrecisionTrainerOptions& trainer, Fields& out) {
  out.push_back({"optimizer", "name", &c.name, OneOf({"sgd", "adamw", "lamb"}), "method"});
  out.push_back({"optimizer", "learning_rate", &c.learning_rate, Above(0), "peak of the schedule"});
  out.push_back({"optimizer", "momentum", &c.momentum, Fraction(), "sgd: momentum"});
  out.push_back({"optimizer", "nesterov", &c.nesterov, Any(), "sgd: Nesterov's momentum"});
  out.push_back(
      {"optimizer", "beta1", &c.beta1, Fraction(), "adamw, lamb: decay of the gradient's mean"});
  out.push_back({"optimizer", "beta2", &c.beta2, Fraction(),
                 "adamw, lamb: decay of the squared gradient's mean"});
  out.push_back(
      {"optimizer", "epsilon", &c.epsilon, Above(0), "adamw, lamb: added to the divisor"});
  out.push_back({"optimizer", "weight_decay", &c.weight_decay, AtLeast(0),
                 "not applied to norms and biases"});
  out.push_back({"optimizer", "clip_norm", &trainer.clip_norm, AtLeast(0),
                 "largest global L2 norm of the gradients; 0: off"});
  out.push_back(
      {"optimizer", "accumulate", &trainer.accumulate, Between(1, 1e6), "micro-batches a step"});
}

void AddSchedule(ScheduleOptions& c, Fields& out) {
  out.push_back({"schedule", "name", &c.name,
                 OneOf({"constant", "cosine", "step", "one_cycle", "plateau"}),
                 "course of the learning rate"});
  out.push_back({"schedule", "warmup_epochs", &c.warmup_epochs, AtLeast(0),
                 "linear rise from 0, epochs; at most run.epochs"});
  out.push_back({"schedule", "final_ratio", &c.final_ratio, Between(0, 1),
                 "cosine: last learning rate / peak"});
  out.push_back({"schedule", "milestones", &c.milestones, Between(1, 1e6),
                 "step: epochs after which the rate is multiplied by gamma, rising"});
  out.push_back({"schedule", "gamma", &c.gamma, OpenFraction(), "step, plateau: factor"});
  out.push_back({"schedule", "patience", &c.patience, Between(0, 1e6),
                 "plateau: epochs without improvement"});
  out.push_back({"schedule", "start_fraction", &c.start_fraction, OpenFraction(),
                 "one_cycle: share of the run that rises"});
  out.push_back(
      {"schedule", "initial_divisor", &c.initial_divisor, AtLeast(1), "one_cycle: peak / first"});
  out.push_back(
      {"schedule", "final_divisor", &c.final_divisor, AtLeast(1), "one_cycle: first / last"});
}

// uniform: 1 to 8, or auto.
std::vector<std::pair<std::string, int>> BitWords() {
  std::vector<std::pair<std::string, int>> words;
  for (int bits = 1; bits <= 8; ++bits) words.emplace_back(absl::StrCat(bits), bits);
  words.emplace_back("auto", CompressionOptions::kAutoBits);
  return words;
}

void AddCompression(CompressionOptions& c, Fields& out) {
  out.push_back({"compression", "method", &c.method,
                 OneOf({"none", "auto", "uniform", "sign", "topk", "fp16", "bf16", "powersgd"}),
                 "form in which gradients travel; auto: uniform where the measured link makes it "
                 "faster, else none"});
  out.push_back({"compression", "bits", Words(&c.codec.bits, BitWords()), Any(),
                 "uniform: bits a value; auto: each layer its own, by measured error"});
  out.push_back({"compression", "bucket", &c.codec.bucket, Between(64, 4096),
                 "values that share a scale, a power of two"});
  out.push_back({"compression", "scale", Words(&c.codec.scale, CodecScaleWords()), Any(),
                 "uniform: levels between -max and max, or between min and max"});
  out.push_back({"compression", "rounding", Words(&c.codec.rounding, CodecRoundingWords()), Any(),
                 "uniform: to the nearest level, or at random without bias"});
  out.push_back({"compression", "rotate", &c.codec.rotate, Any(),
                 "uniform, at most 3 bits: randomised Hadamard transform before rounding"});
  out.push_back({"compression", "density", &c.codec.density, Share(),
                 "topk: share of the values that travel"});
  out.push_back(
      {"compression", "rank", &c.rank, Between(1, 1024), "powersgd: rank of the approximation"});
  out.push_back({"compression", "error_feedback", &c.error_feedback, Any(),
                 "add what rounding took away to the next step's gradient"});
  out.push_back({"compression", "warmup_steps", &c.warmup_steps, AtLeast(0),
                 "first steps of the run, in fp32"});
  out.push_back({"compression", "minimum_size", &c.minimum_size, AtLeast(0),
                 "tensors of fewer elements travel in fp32, as all of one dimension do"});
  out.push_back({"compression", "exclude", &c.exclude, Any(),
                 "names of parameters that travel in fp32, with a shell's `*`, `?` and `[ab]`"});
  out.push_back({"compression", "hierarchical", &c.hierarchical, Any(),
                 "fp32 among the ranks of a host, compressed between hosts"});
  out.push_back({"compression", "decide_every", &c.decide_every, Between(1, 1e9),
                 "bits: auto: steps from one choice to the next"});
}

void AddQuantization(QuantizationConfig& c, Fields& out) {
  out.push_back({"quantization", "mode", &c.mode, OneOf({"none", "ptq", "qat"}),
                 "integer files: none, of the trained model after calibration, or trained with the "
                 "rounding"});
  out.push_back({"quantization", "bits", &c.quantizer.options.bits, Between(2, 8), "of weights"});
  out.push_back({"quantization", "activation_bits", &c.quantizer.options.activation_bits,
                 Between(2, 8), "of activations"});
  out.push_back({"quantization", "end_bits", &c.quantizer.options.end_bits, Between(2, 8),
                 "of the first and the last layer's weights and inputs, if that is more"});
  out.push_back(
      {"quantization", "sum_bits", &c.quantizer.options.sum_bits, Between(2, 8),
       "of activations that only additions read (a residual branch's result), if that is more"});
  out.push_back({"quantization", "method", &c.quantizer.options.method, OneOf(RangeMethods()),
                 "how activations' ranges are chosen before training or export"});
  out.push_back({"quantization", "samples", &c.quantizer.samples, Between(1, 1e9),
                 "training images, without augmentation, to calibrate on"});
  out.push_back(
      {"quantization", "exports", &c.exports, Any(),
       "ptq: files to write, as [w8a8, w4a8]; empty: the one of `bits` and `activation_bits`"});
  out.push_back({"quantization", "start_epoch", &c.start_epoch, Between(0, 1e6),
                 "qat: epochs in float before it; 0: from the first one, as for `model.onnx`"});
  out.push_back({"quantization", "stage_bits", &c.stage_bits, Between(2, 8),
                 "qat: bits of weights and activations on the way to the last ones, falling"});
  out.push_back({"quantization", "stage_epochs", &c.stage_epochs, Between(1, 1e6),
                 "qat: epochs done of the run when each stage ends, rising"});
  out.push_back({"quantization", "freeze_epochs", &c.freeze_epochs, Between(0, 1e6),
                 "qat: last epochs in which batch norms keep their statistics as they are"});
  out.push_back({"quantization", "distillation", &c.distillation.weight, Between(0, 1),
                 "qat: share of the float model's soft targets in the loss"});
  out.push_back({"quantization", "temperature", &c.distillation.temperature, Above(0),
                 "qat: of the soft targets"});
}

void AddPruning(PruningConfig& c, Fields& out) {
  out.push_back({"pruning", "mode", &c.mode, OneOf({"none", "channels", "2:4"}),
                 "what goes: nothing, whole channels, or two of every four weights"});
  out.push_back({"pruning", "share", &c.channels.options.amount, OpenFraction(),
                 "channels: share of the measure that has gone at the end"});
  out.push_back({"pruning", "measure", &c.channels.options.measure, OneOf({"filters", "macs"}),
                 "channels: outputs of all layers, or multiply-accumulates"});
  out.push_back({"pruning", "importance", &c.channels.options.importance,
                 OneOf({"l1", "bn", "taylor"}), "channels: by which they are chosen"});
  out.push_back(
      {"pruning", "start_epoch", &c.start_epoch, Between(0, 1e6), "epochs done when the first go"});
  out.push_back({"pruning", "end_epoch", &c.end_epoch, Between(0, 1e6),
                 "channels: epochs done when the last go, a part after each epoch from the first "
                 "on; 0: all at `start_epoch`"});
  out.push_back({"pruning", "multiple", &c.channels.options.multiple, Between(1, 256),
                 "channels: groups shrink to multiples of this"});
  out.push_back(
      {"pruning", "keep", &c.channels.options.keep, Any(), "names of layers to leave alone"});
  out.push_back({"pruning", "samples", &c.channels.samples, Between(1, 1e9),
                 "taylor: training images to measure on"});
}

void AddGating(GatingConfig& c, Fields& out) {
  out.push_back({"gating", "mode", &c.mode, OneOf({"none", "channels"}),
                 "what gets gates: nothing, or the channels of inner convolutions"});
  out.push_back({"gating", "share", &c.controller.share, OpenFraction(),
                 "share of the gates that are 0, over all images, at the end"});
  out.push_back({"gating", "ramp_epochs", &c.ramp_epochs, AtLeast(0),
                 "epochs over which the share that is wanted rises from 0; below run.epochs"});
  out.push_back({"gating", "penalty", &c.controller.first_strength, Above(0),
                 "the penalty's strength in the first step; it is steered from there on"});
  out.push_back({"gating", "weight_scale", &c.gates.weight_scale, AtLeast(0),
                 "deviation of the gates' first weights, over Kaiming's"});
  out.push_back({"gating", "bias", &c.gates.bias, Above(0),
                 "the gates' first biases: about what each gate is at first"});
  out.push_back({"gating", "keep", &c.gates.keep, Any(), "names of convolutions that get no gate"});
}

void AddLoss(LossOptions& c, Fields& out) {
  out.push_back(
      {"loss", "name", &c.name, OneOf(LossNames()),
       "cross_entropy, nll: one class a sample, token or pixel; bce: several labels, each "
       "yes or no; mse, l1, huber: numbers"});
  out.push_back({"loss", "label_smoothing", &c.label_smoothing, Fraction(),
                 "share of the target spread over all classes"});
  out.push_back({"loss", "ignore_index", &c.ignore_index, Any(),
                 "cross_entropy, nll, bce: the target that does not count; none: all count"});
  out.push_back({"loss", "class_weights", &c.class_weights, Above(0),
                 "cross_entropy, nll: how much each class counts; bce: how much a positive of each "
                 "label counts; empty: all alike"});
  out.push_back({"loss", "huber_delta", &c.huber_delta, Above(0),
                 "huber: the error where the square becomes a line"});
  out.push_back({"loss", "metrics", &c.metrics, OneOf(MetricNames()),
                 "what evaluations measure, the first decides which epoch is best; empty: by the "
                 "loss and the model's output"});
}

void AddPrecision(std::string& mode, LossScalerOptions& c, Fields& out) {
  out.push_back({"precision", "mode", &mode, OneOf({"fp32", "bf16", "fp16", "auto"}),
                 "auto: the fastest on this device, after a short probe"});
  out.push_back(
      {"precision", "initial_scale", &c.initial_scale, Above(0), "fp16: first loss scale"});
  out.push_back({"precision", "growth_factor", &c.growth_factor, Above(1),
                 "fp16: the scale is multiplied by it after growth_interval good steps"});
  out.push_back({"precision", "backoff_factor", &c.backoff_factor, OpenFraction(),
                 "fp16: the scale is multiplied by it at a step with Inf or NaN"});
  out.push_back({"precision", "growth_interval", &c.growth_interval, Between(1, 1e9),
                 "fp16: good steps before the scale grows"});
}

void AddEma(EmaOptions& c, Fields& out) {
  out.push_back(
      {"ema", "enabled", &c.enabled, Any(), "test and export a moving average of the weights"});
  out.push_back({"ema", "decay", &c.decay, Fraction(), "share kept at each step"});
}

void AddComm(CommOptions& c, ExchangeOptions& exchange, Fields& out) {
  out.push_back({"comm", "backend", &c.backend, OneOf({"auto", "mpi", "nccl", "none"}),
                 "what carries the gradients; none: one rank"});
  out.push_back({"comm", "timeout_s", &c.timeout_s, Above(0), "longest wait of one call, seconds"});
  out.push_back(
      {"comm", "bucket_mb", &exchange.bucket_mb, Above(0), "gradient bucket, MiB of fp32"});
  out.push_back({"comm", "overlap", &exchange.overlap, Any(), "exchange during the backward pass"});
  out.push_back({"comm", "forecast", &exchange.forecast, Any(),
                 "measure link, codec and the first 10 steps, and say what a step will take"});
}

void AddSync(LocalStepsOptions& c, Fields& out) {
  out.push_back(
      {"sync", "every", &c.every, Between(1, 1e6),
       "local steps from one exchange to the next; 1: gradients are exchanged at every step"});
  out.push_back({"sync", "outer_learning_rate", &c.outer_learning_rate, Above(0),
                 "share of the ranks' mean change that is applied, where `every` > 1"});
  out.push_back({"sync", "outer_momentum", &c.outer_momentum, Fraction(),
                 "Nesterov's momentum of those changes"});
}

void AddCheckpoint(CheckpointConfig& c, Fields& out) {
  out.push_back({"checkpoint", "enabled", &c.enabled, Any(), "write checkpoints"});
  out.push_back({"checkpoint", "every_epochs", &c.every_epochs, Between(1, 1e6),
                 "epochs from one to the next"});
  out.push_back({"checkpoint", "keep", &c.keep, Between(1, 1e6), "newest kept"});
}

void AddLog(LogConfig& c, bool& trace, Fields& out) {
  out.push_back({"log", "every_steps", &c.every_steps, Between(1, 1e9),
                 "steps from one line and one row of metrics.csv to the next"});
  out.push_back({"log", "tensorboard", &c.tensorboard, Any(), "write TensorBoard events"});
  out.push_back(
      {"log", "trace", &trace, Any(), "write trace.json (Chrome format) of compute and exchange"});
}

}  // namespace

std::vector<Field> TrainFields(TrainConfig& config) {
  Fields fields;
  AddRun(config.run, config.trainer, fields);
  AddModel(config.model, fields);
  AddData(config.data, fields);
  AddOptimizer(config.optimizer, config.trainer, fields);
  AddSchedule(config.schedule, fields);
  AddLoss(config.loss, fields);
  MixedPrecisionTrainerOptions& trainer = config.trainer;
  AddPrecision(trainer.precision, trainer.scaler, fields);
  AddEma(trainer.ema, fields);
  AddComm(config.comm, trainer.exchange, fields);
  AddCompression(trainer.exchange.compression, fields);
  AddSync(trainer.local_steps, fields);
  AddQuantization(config.quantization, fields);
  AddPruning(config.pruning, fields);
  AddGating(config.gating, fields);
  AddCheckpoint(config.checkpoint, fields);
  AddLog(config.log, trainer.exchange.trace, fields);
  return fields;
}

}  // namespace ds
