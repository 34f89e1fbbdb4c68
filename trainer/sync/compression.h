// How gradients are compressed in a run: options, which tensors they apply to, and the compressor
// that they ask for.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "codec/codec.h"
#include "comm/communicator.h"
#include "comm/compress/gradient_compressor.h"
#include "comm/compress/gradient_segment.h"

namespace ds {

// docs/compression.md; the keys of a run's `compression` section.
struct CompressionOptions {
  std::string method = "none";  // none | auto | uniform | sign | topk | fp16 | bf16 | powersgd
  int bits = 4;                 // uniform: 1..8; kAutoBits: a layer's own
  int64_t bucket = 512;         // values that share a scale
  bool min_max = false;         // uniform: scale from min and max, not from the largest magnitude
  bool stochastic = false;      // uniform: rounding
  bool rotate = false;          // uniform, bits <= 3
  double density = 0.01;        // topk
  int64_t rank = 4;             // powersgd
  bool error_feedback = true;
  int64_t warmup_steps = 0;          // first steps of the run, in fp32
  int64_t minimum_size = 1024;       // tensors of fewer elements travel in fp32
  std::vector<std::string> exclude;  // names, `*` for any text
  bool hierarchical = false;         // fp32 within a host
  int64_t decide_every = 500;        // kAutoBits: steps from one choice to the next
  uint64_t seed = 1;                 // of stochastic rounding and rotation

  static constexpr int kAutoBits = 0;
  bool auto_bits() const { return method == "uniform" && bits == kAutoBits; }
};

// Whether `pattern`, in which `*` stands for any text, is the whole of `name`.
bool MatchesPattern(absl::string_view pattern, absl::string_view name);

// Whether a parameter travels in fewer bits: it has two or more dimensions, none of the patterns
// names it, and it is large enough.
bool IsCompressed(const CompressionOptions& options, absl::string_view name,
                  absl::Span<const int64_t> shape);

// The codec of `options.method`; null for powersgd and none, which have none. `bits` counts for
// uniform only.
absl::StatusOr<std::shared_ptr<const Codec>> MakeCodec(const CompressionOptions& options, int bits);

using Codecs = std::map<std::string, std::shared_ptr<const Codec>>;  // by parameter

struct MadeCompressor {
  std::unique_ptr<GradientCompressor> compressor;
  // Gives tensors other codecs between steps. Collective. Empty for powersgd.
  std::function<absl::Status(const Codecs&)> set_codecs;
};

// Gives every segment that is compressed its codec (powersgd: takes the shape of the others away).
absl::StatusOr<std::vector<GradientBucket>> WithCodecs(const CompressionOptions& options,
                                                       std::vector<GradientBucket> buckets);

// For buckets from WithCodecs. `communicator` outlives it. Collective where options.hierarchical.
absl::StatusOr<MadeCompressor> MakeCompressor(const CompressionOptions& options,
                                              std::vector<GradientBucket> buckets,
                                              Communicator* communicator);

}  // namespace ds
