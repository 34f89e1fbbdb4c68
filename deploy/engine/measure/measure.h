// What ds_bench measures of a .dsm file: how long it takes to open, to run the first time and then,
// and what memory it adds to the process.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "deploy/engine/runtime/model.h"
#include "deploy/engine/runtime/session.h"
#include "deploy/engine/runtime/status.h"

namespace ds::engine {

struct MeasureOptions {
  std::string model;  // a path
  ModelOptions open;
  SessionOptions session;
  int runs = 200;               // timed ones
  int warm_up = 10;             // before them, the first not counted
  uint32_t seed = 1;            // of the inputs
  bool second_process = false;  // also what a second process that opens the file adds
};

struct OperatorTime {
  std::string name, kind, story;
  double median_us = 0;
  uint64_t macs = 0;
  double peak_share = 0;  // of what all threads could multiply and accumulate meanwhile
};

struct Measurement {
  std::string model, isa;
  int threads = 1;
  double load_ms = 0;   // from the path to a session that is ready
  double first_ms = 0;  // its first run
  double median_ms = 0, p99_ms = 0, least_ms = 0;
  double rss_mib = 0;  // resident memory that opening and running added
  // Private memory and proportional share that a second process adds; 0 where not asked for.
  double second_private_mib = 0, second_pss_mib = 0;
  int64_t file_bytes = 0;
  int64_t buffer_bytes = 0;  // a session's activations, inputs, outputs and scratch
  uint64_t arena_bytes = 0, arena_bound_bytes = 0, unplanned_bytes = 0;
  uint64_t macs = 0;
  double peak_int8 = 0, peak_fp32 = 0;  // GMAC/s of one thread, with a profile
  std::vector<OperatorTime> operators;  // with a profile, in the order in which they run
};

// Runs the model on random inputs: floats in a normal distribution, any code, small integers.
// Errors are those of opening and of creating a session.
Status Measure(const MeasureOptions& options, Measurement& measurement);

}  // namespace ds::engine
