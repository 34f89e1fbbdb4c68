// What a training run is, as plain structs. config/reader.h fills them from YAML; every field has
// its unit, range and default here. Field names are the YAML keys.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

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
  std::string name = "";          // zoo or plugin model; exclusive with `onnx`
  std::string onnx = "";          // ONNX file to fine-tune
  std::string plugin = "";        // shared library that registers models
  int64_t channels = 0;           // 0: the data's
  int64_t height = 0, width = 0;  // 0: the data's
  int64_t classes = 0;            // 0: the data's
  int64_t sequence_length = 0;    // 0: the data's
  double dropout = 0.0;           // [0, 1)
};

struct DataConfig {
  std::string type = "idx";  // idx | cifar10 | cifar100 | images | text | synthetic
  std::string path = "";     // empty: the usual places
  int64_t train_limit = 0;   // 0: all samples
  int64_t test_limit = 0;
  int64_t batch_size = 128;  // samples a rank
  int64_t test_batch_size = 500;
  int64_t threads = 1;     // loader threads a rank
  int64_t image_size = 0;  // image folders: resize + centre crop; 0: as they are
  int64_t channels = 3, height = 32, width = 32, classes = 10, size = 1024;  // synthetic
  int64_t sequence_length = 128;                                             // text
  std::vector<double> mean;  // a channel; empty: measured from the training set
  std::vector<double> stddev;
  bool drop_last = true;
  struct Augment {
    int64_t crop = 0;  // padding in pixels
    bool flip = false;
    int64_t cutout = 0;  // side in pixels
  } augment;
};

struct OptimizerConfig {
  std::string name = "sgd";           // sgd | adamw | lamb
  double learning_rate = 0.1;         // peak, > 0
  double momentum = 0.9;              // sgd, [0, 1)
  bool nesterov = true;               // sgd
  double beta1 = 0.9, beta2 = 0.999;  // adamw, lamb
  double epsilon = 1e-8;
  double weight_decay = 5e-4;  // not applied to norms and biases
  double clip_norm = 0.0;      // global L2 norm; 0: off
  int64_t accumulate = 1;      // micro-batches a step
};

struct ScheduleConfig {
  std::string name = "cosine";      // constant | cosine | step | one_cycle | plateau
  double warmup_epochs = 0.0;       // linear from 0
  double final_ratio = 0.0;         // cosine: last learning rate / peak
  std::vector<int64_t> milestones;  // step: epochs
  double gamma = 0.1;               // step, plateau: factor
  int64_t patience = 5;             // plateau: epochs without improvement
  double start_fraction = 0.25;     // one_cycle: share of the run that rises
  double initial_divisor = 25.0;    // one_cycle: peak / first
  double final_divisor = 1e4;       // one_cycle: first / last
};

struct LossConfig {
  std::string name = "cross_entropy";
  double label_smoothing = 0.0;  // [0, 1)
};

struct PrecisionConfig {
  std::string mode = "auto";       // fp32 | bf16 | fp16 | auto
  double initial_scale = 65536.0;  // fp16 loss scale
  double growth_factor = 2.0;
  double backoff_factor = 0.5;
  int64_t growth_interval = 2000;  // good steps before it grows
};

struct EmaConfig {
  bool enabled = false;
  double decay = 0.999;  // [0, 1)
};

struct CommConfig {
  std::string backend = "auto";  // auto | mpi | nccl | none
  double timeout_s = 600.0;      // longest wait of one call, seconds
  double bucket_mb = 4.0;        // gradient bucket, MiB of fp32
  bool overlap = true;           // exchange during backward
  bool forecast = false;  // predict a step's time from the run's first steps (docs/compression.md)
};

// docs/compression.md
struct CompressionConfig {
  std::string method = "none";       // none | auto | uniform | sign | topk | fp16 | bf16 | powersgd
  std::string bits = "4";            // uniform: 1..8, or "auto": each layer its own
  int64_t bucket = 512;              // values that share a scale: 64..4096, a power of two
  std::string scale = "max_norm";    // uniform: max_norm | min_max
  std::string rounding = "nearest";  // uniform: nearest | stochastic
  bool rotate = false;               // uniform, bits <= 3: randomised Hadamard transform
  double density = 0.01;             // topk: share of the values that travel
  int64_t rank = 4;                  // powersgd
  bool error_feedback = true;
  int64_t warmup_steps = 0;          // first steps of the run, in fp32
  int64_t minimum_size = 1024;       // tensors of fewer elements travel in fp32
  std::vector<std::string> exclude;  // parameter names, * for any text: they travel in fp32
  bool hierarchical = false;         // fp32 within a host, compressed between hosts
  int64_t decide_every = 500;        // bits auto: steps from one choice to the next
};

struct SyncConfig {
  int64_t every = 1;  // local steps between exchanges; 1: gradients at every step
  double outer_learning_rate = 1;
  double outer_momentum = 0;  // Nesterov's
};

// docs/qat.md
struct QuantizationConfig {
  std::string mode = "none";    // none | ptq | qat
  int64_t bits = 4;             // of weights, 2..8
  int64_t activation_bits = 4;  // 2..8
  int64_t end_bits = 8;  // of the first and the last layer's weights and inputs, if that is more
  int64_t sum_bits = 8;  // of activations that only additions read, if that is more
  std::string method = "auto";  // how activations' ranges are chosen, as of ds_quantize
  int64_t samples = 1024;       // training images to calibrate on
  std::vector<std::string>
      exports;  // ptq: files to write, as "w4a8"; empty: the one of `bits` and `activation_bits`
  int64_t start_epoch = 0;            // qat: float epochs before
  std::vector<int64_t> stage_bits;    // qat: bits on the way to `bits`, falling
  std::vector<int64_t> stage_epochs;  // qat: epoch of the run at which each of them ends, rising
  int64_t freeze_epochs = 0;  // qat: last epochs in which batch norms' statistics stand still
  double distillation = 0;    // qat: share of the float model's soft targets in the loss, [0, 1]
  double temperature = 4;     // of them, > 0
};

// docs/pruning.md
struct PruningConfig {
  std::string mode = "none";        // none | channels | 2:4
  double share = 0.4;               // channels: of the measure that has gone at the end, (0, 1)
  std::string measure = "filters";  // channels: filters | macs
  std::string importance = "l1";    // channels: l1 | bn | taylor
  int64_t start_epoch = 0;          // epochs done when the first go
  int64_t end_epoch = 0;  // channels: epochs done when the last go; 0: all go at `start_epoch`
  int64_t multiple = 1;   // channels: groups shrink to multiples of this, 1..256
  std::vector<std::string> keep;  // names of layers to leave alone
  int64_t samples = 1024;         // taylor: training images to measure on
};

// docs/gating.md
struct GatingConfig {
  std::string mode = "none";      // none | channels
  double share = 0.3;             // of the gates that are 0, over all images, at the end, (0, 1)
  double ramp_epochs = 1;         // the share that is wanted rises from 0 over so many epochs
  double penalty = 1;             // its strength in the first step, > 0; steered from there on
  double weight_scale = 0.1;      // of the gates' first weights, over Kaiming's deviation
  double bias = 1;                // the gates' first biases: what each is at first, > 0
  std::vector<std::string> keep;  // names of convolutions that get no gate
};

struct CheckpointConfig {
  bool enabled = true;
  int64_t every_epochs = 1;
  int64_t keep = 2;  // newest kept
};

struct LogConfig {
  int64_t every_steps = 50;  // lines and metrics rows
  bool tensorboard = true;
  bool trace = false;  // trace.json (Chrome format) of compute and exchange
};

struct TrainConfig {
  RunConfig run;
  ModelConfig model;
  DataConfig data;
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  LossConfig loss;
  PrecisionConfig precision;
  EmaConfig ema;
  CommConfig comm;
  CompressionConfig compression;
  SyncConfig sync;
  QuantizationConfig quantization;
  PruningConfig pruning;
  GatingConfig gating;
  CheckpointConfig checkpoint;
  LogConfig log;
};

}  // namespace ds
