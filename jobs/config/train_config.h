// What a training run is: the libraries' own options, and what only a run has. Every knob has its
// unit, range and default in one struct, here or beside its library; train_schema.h binds YAML's
// keys to them, and docs/configuration.md lists those. Torch-free.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/factory/factory.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "data/partition.h"
#include "graph/zoo/zoo.h"
#include "prune/channel_gates.h"
#include "prune/pruning.h"
#include "quant/torch/quantizer_options.h"
#include "trainer/gating/gate_controller.h"
#include "trainer/optim/options.h"
#include "trainer/optim/schedule.h"
#include "trainer/qat/distillation_options.h"
#include "trainer/trainer_options.h"

namespace ds {

struct RunConfig {
  std::string name = "run";     // [A-Za-z0-9_.-]+
  std::string output = "runs";  // folder that holds the run's folder
  uint64_t seed = 1;
  int64_t epochs = 1;         // >= 1
  int threads = 0;            // compute threads a rank; 0: cores / ranks on this host
  bool deterministic = true;  // the same seed gives the same bits
};

struct ModelConfig {
  std::string name = "";    // zoo or plugin model; exclusive with `onnx`
  std::string onnx = "";    // ONNX file to fine-tune
  std::string plugin = "";  // shared library that registers models
  // Patterns on names of initialisers: what does not train, and of that what does all the same.
  std::vector<std::string> freeze;
  std::vector<std::string> train;
  // Extents that are 0 are the data's. The seed is the run's.
  ModelOptions options = {
      .channels = 0, .height = 0, .width = 0, .classes = 0, .sequence_length = 0};
};

struct DataConfig {
  // `size` is of the training split, the test split has a fifth of it. Split, limit and seed are
  // the run's to set.
  DatasetOptions set;
  int64_t train_limit = 0;  // samples; 0: all
  int64_t test_limit = 0;
  PartitionOptions partition;  // of what the limits leave, both splits
  // Of training; rank, shuffle and seed are the run's to set. `mean` and `stddev`, where empty, are
  // measured on the training split, and are those of the test split too.
  LoaderOptions loader;
  int64_t test_batch_size = 500;  // samples a rank
};

// A quantiser and what it is calibrated on. ds_quantize has one too.
struct CalibratedQuantizer {
  QuantizerOptions options;
  int64_t samples = 1024;  // training images, without augmentation, >= 1
};

// Which channels go, and what their importance is measured on. ds_prune has one too.
struct ChannelPruning {
  PruneOptions options;    // `importance` may be taylor too: the loss' change, measured
  int64_t samples = 1024;  // taylor: training images, without augmentation, >= 1
};

// docs/qat.md
struct QuantizationConfig {
  std::string mode = "none";  // none | ptq | qat
  CalibratedQuantizer quantizer = {.options = {.bits = 4, .activation_bits = 4}};
  // ptq: files to write, as "w4a8"; empty: the one of the quantiser's own bits.
  std::vector<std::string> exports;
  int64_t start_epoch = 0;            // qat: float epochs before
  std::vector<int64_t> stage_bits;    // qat: bits on the way to the last ones, falling
  std::vector<int64_t> stage_epochs;  // qat: epoch of the run at which each of them ends, rising
  int64_t freeze_epochs = 0;  // qat: last epochs in which batch norms' statistics stand still
  DistillationOptions distillation;  // qat
};

// docs/pruning.md
struct PruningConfig {
  std::string mode = "none";  // none | channels | 2:4
  ChannelPruning channels;    // 2:4: only its `keep` counts
  int64_t start_epoch = 0;    // epochs done when the first go
  int64_t end_epoch = 0;      // channels: epochs done when the last go; 0: all at `start_epoch`
};

// docs/gating.md
struct GatingConfig {
  std::string mode = "none";         // none | channels
  ChannelGateOptions gates;          // the seed is the run's
  GateControllerOptions controller;  // its ramp is this one:
  double ramp_epochs = 1;  // the share that is wanted rises from 0 over so many epochs, >= 0
};

struct CheckpointConfig {
  bool enabled = true;
  int64_t every_epochs = 1;
  int64_t keep = 2;  // newest kept
};

struct LogConfig {
  int64_t every_steps = 50;  // lines and metrics rows
  bool tensorboard = true;
};

struct TrainConfig {
  RunConfig run;
  ModelConfig model;
  DataConfig data;
  OptimizerOptions optimizer;
  ScheduleOptions schedule;  // its peak and its steps follow from optimiser, data and epochs
  LossOptions loss;
  // Sections precision, ema, compression and sync; of run, optimizer, comm and log what the trainer
  // needs. Its seeds are the run's.
  MixedPrecisionTrainerOptions trainer;
  CommOptions comm;
  QuantizationConfig quantization;
  PruningConfig pruning;
  GatingConfig gating;
  CheckpointConfig checkpoint;
  LogConfig log;
};

}  // namespace ds
