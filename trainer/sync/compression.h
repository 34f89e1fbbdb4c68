// How gradients are compressed in a run: which tensors the options apply to, and the compressor
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
#include "trainer/sync/exchange_options.h"

namespace ds {

// Whether `pattern` fits the whole of `name`: `*` stands for any text, `?` for one character,
// `[ab]` for one of those, as in a shell (fnmatch); a pattern equal to the name always fits.
bool MatchesPattern(const std::string& pattern, const std::string& name);

// Whether a parameter travels in fewer bits: it has two or more dimensions, none of the patterns
// names it, and it is large enough.
bool IsCompressed(const CompressionOptions& options, const std::string& name,
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
