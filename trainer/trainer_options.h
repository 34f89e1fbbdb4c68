// Options of MixedPrecisionTrainer: plain values, which a run's configuration fills. Torch-free.
#pragma once

#include <cstdint>
#include <string>

#include "trainer/optim/loss_scaler.h"
#include "trainer/optim/options.h"
#include "trainer/sync/exchange_options.h"

namespace ds {

struct MixedPrecisionTrainerOptions {
  std::string precision = "auto";  // fp32 | bf16 | fp16 | auto
  LossScalerOptions scaler;        // `enabled` follows from the precision
  double clip_norm = 0;            // global L2 norm of the gradients; 0: off
  int64_t accumulate = 1;          // micro-batches a step, >= 1
  EmaOptions ema;
  // Steps without finite gradients, after which the run stops with an error (local steps: at the
  // next outer step).
  int64_t max_skipped_in_a_row = 50;
  uint64_t seed = 1;  // of Dropout
  // At every evaluation, compare all that ranks must have in common, bit for bit (VerifyReplicas).
  bool verify_replicas = false;
  ExchangeOptions exchange;
  LocalStepsOptions local_steps;
};

}  // namespace ds
