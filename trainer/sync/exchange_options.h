// How ranks exchange what they have learnt, as plain values that a run's configuration fills.
// Torch-free.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "codec/codec.h"

namespace ds {

// docs/compression.md
struct CompressionOptions {
  std::string method = "none";  // none | auto | uniform | sign | topk | fp16 | bf16 | powersgd
  CodecOptions codec;           // its kind follows from `method`; bits: kAutoBits too
  int64_t rank = 4;             // powersgd, >= 1
  bool error_feedback = true;
  int64_t warmup_steps = 0;          // first steps of the run, in fp32
  int64_t minimum_size = 1024;       // tensors of fewer elements travel in fp32
  std::vector<std::string> exclude;  // names, `*` for any text: they travel in fp32
  bool hierarchical = false;         // fp32 within a host, compressed between hosts
  int64_t decide_every = 500;        // kAutoBits: steps from one choice to the next, >= 1
  uint64_t seed = 1;                 // of stochastic rounding and rotation

  static constexpr int kAutoBits = 0;  // uniform: each layer its own
  bool auto_bits() const { return method == "uniform" && codec.bits == kAutoBits; }
};

struct ExchangeOptions {
  double bucket_mb = 4.0;  // MiB of fp32 that travel together, > 0
  bool overlap = true;     // of gradients, with the backward pass; false: all buckets go after it
  bool forecast = false;   // of gradients: hold the first steps' buckets back, then say what
                           // exchange adds to a step (exchange_forecast.h)
  bool trace = false;      // keep the spans of compute and exchange
  CompressionOptions compression;  // local steps: of the change; its steps are outer steps
};

// docs/local_steps.md
struct LocalStepsOptions {
  int64_t every = 1;  // local steps from one outer step to the next, >= 1; 1: none, gradients are
                      // exchanged at every step
  double outer_learning_rate = 1;  // share of the ranks' mean change that is applied, > 0
  double outer_momentum = 0;       // Nesterov's, [0, 1)
};

}  // namespace ds
