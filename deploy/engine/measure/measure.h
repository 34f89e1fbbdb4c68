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
  uint32_t batch = 0;           // of the file's shapes the first of this batch; 0: the first
  std::vector<uint32_t> shape;  // or the one with these extents of all inputs; empty: by batch
  int runs = 200;               // timed ones
  int warm_up = 10;             // before them, the first not counted
  uint32_t seed = 1;            // of the inputs
};

struct OperatorTime {
  std::string name, kind, story;
  double median_us = 0;
  uint64_t macs = 0;
};

struct Measurement {
  std::string model, isa;
  int threads = 1;
  double load_ms = 0;   // from the path to a session that is ready
  double first_ms = 0;  // its first run
  double median_ms = 0, p99_ms = 0, least_ms = 0;
  double rss_mib = 0;  // resident memory that opening and running added
  int64_t file_bytes = 0;
  uint64_t arena_bytes = 0, arena_bound_bytes = 0, unplanned_bytes = 0;
  uint64_t macs = 0;
  std::vector<OperatorTime> operators;  // with a profile, in the order in which they run
};

// Runs the model on random inputs: floats in a normal distribution, any code, small integers.
// Errors are those of opening and of creating a session.
Status Measure(const MeasureOptions& options, Measurement& measurement);

// For people, for programs and for spreadsheets; all end with a line end.
enum class MeasureFormat { kTable, kJson, kCsv };
std::string Print(const Measurement& measurement, MeasureFormat format);

}  // namespace ds::engine
