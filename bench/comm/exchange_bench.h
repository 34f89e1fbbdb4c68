// Times compressed all-reduce over a communicator, having first checked its result value by value.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/comm/exchange_check.h"
#include "codec/codec.h"
#include "comm/communicator.h"

namespace ds {

struct ExchangeBenchOptions {
  std::vector<int64_t> sizes = {1009, 1 << 16, 1 << 20, 1 << 24};  // fp32 values a rank
  std::vector<std::string> codecs = {"fp32", "fp16", "u8", "u4", "u2", "u1"};
  CodecOptions codec;              // bucket, scale, rounding, rotation
  int repeats = 5;                 // timed exchanges, of which the median counts; at least 1
  bool error_feedback = true;      // while timing
  int64_t chunk_bytes = 1 << 20;   // as of CompressedAllReduceOptions
  int64_t model_values = 1 << 22;  // that the cost model measures a codec on
  int threads = 0;                 // encoding threads a rank besides its own
};

struct ExchangeBenchRow {
  std::string backend;
  int ranks = 1;
  std::string codec;
  int64_t values = 0;
  ExchangeCheck check;
  double seconds = 0;        // median, of the slowest rank
  double model_seconds = 0;  // what the cost model predicts
  int64_t wire_bytes =
      0;  // in one exchange, of the rank that sends most: counted at the transport,
  int64_t predicted_bytes = 0;  // and predicted
  // fp32 bytes exchanged a second.
  double gb_per_s() const { return seconds > 0 ? static_cast<double>(values) * 4e-9 / seconds : 0; }
  double fewer_bytes() const;  // than in fp32
  bool ok() const { return check.ok() && wire_bytes == predicted_bytes; }
};

// A row for each size and codec, the same on every rank. Collective. InvalidArgument for unknown
// codecs and bad options, before anything is exchanged.
absl::StatusOr<std::vector<ExchangeBenchRow>> RunExchangeBench(Communicator& communicator,
                                                               const ExchangeBenchOptions& options);

std::string ExchangeBenchTable(const std::vector<ExchangeBenchRow>& rows);
// An array of objects, times in seconds, sizes in bytes.
std::string ExchangeBenchJson(const std::vector<ExchangeBenchRow>& rows);

}  // namespace ds
