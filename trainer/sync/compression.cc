#include "trainer/sync/compression.h"

#include <fnmatch.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "comm/compress/compressed_all_reduce.h"
#include "comm/compress/hierarchical_all_reduce.h"
#include "comm/compress/power_sgd.h"
#include "comm/hosts.h"

namespace ds {
namespace {

// Auto bits start here and move when there is something to measure.
constexpr int kFirstAutoBits = 4;

int64_t Elements(absl::Span<const int64_t> shape) {
  int64_t count = 1;
  for (int64_t extent : shape) count *= extent;
  return count;
}

}  // namespace

bool MatchesPattern(const std::string& pattern, const std::string& name) {
  // Itself first: a name may hold brackets.
  return pattern == name || fnmatch(pattern.c_str(), name.c_str(), FNM_NOESCAPE) == 0;
}

bool IsCompressed(const CompressionOptions& options, const std::string& name,
                  absl::Span<const int64_t> shape) {
  if (options.method == "none" || shape.size() < 2 || Elements(shape) < options.minimum_size)
    return false;
  for (const std::string& pattern : options.exclude) {
    if (MatchesPattern(pattern, name)) return false;
  }
  return true;
}

absl::StatusOr<std::shared_ptr<const Codec>> MakeCodec(const CompressionOptions& options,
                                                       int bits) {
  CodecOptions codec = options.codec;
  codec.bits = bits;
  if (options.method == "none" || options.method == "powersgd") return nullptr;
  if (options.method == "uniform") {
    codec.kind = CodecKind::kUniform;
  } else if (options.method == "sign") {
    codec.kind = CodecKind::kSign;
  } else if (options.method == "topk") {
    codec.kind = CodecKind::kTopK;
  } else if (options.method == "fp16") {
    codec.kind = CodecKind::kFloat16;
  } else if (options.method == "bf16") {
    codec.kind = CodecKind::kBFloat16;
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no compression method '", options.method, "'"));
  }
  DS_ASSIGN_OR_RETURN(std::shared_ptr<const Codec> made, Codec::Create(codec));
  return made;
}

absl::StatusOr<std::vector<GradientBucket>> WithCodecs(const CompressionOptions& options,
                                                       std::vector<GradientBucket> buckets) {
  DS_ASSIGN_OR_RETURN(
      const std::shared_ptr<const Codec> codec,
      MakeCodec(options, options.auto_bits() ? kFirstAutoBits : options.codec.bits));
  for (GradientBucket& bucket : buckets) {
    for (GradientSegment& segment : bucket) {
      const bool compressed = IsCompressed(options, segment.name, segment.shape);
      if (compressed) segment.codec = codec;
      // PowerSGD lets a tensor without a shape travel in fp32.
      if (!compressed) segment.shape.clear();
    }
  }
  return buckets;
}

absl::StatusOr<MadeCompressor> MakeCompressor(const CompressionOptions& options,
                                              std::vector<GradientBucket> buckets,
                                              Communicator* communicator) {
  MadeCompressor made;
  if (options.method == "powersgd") {
    DS_ASSIGN_OR_RETURN(made.compressor, PowerSgd::Create(communicator, std::move(buckets),
                                                          {.rank = static_cast<int>(options.rank),
                                                           .error_feedback = options.error_feedback,
                                                           .seed = options.seed}));
    return made;
  }
  const CompressedAllReduceOptions two_shot = {.seed = options.seed,
                                               .error_feedback = options.error_feedback};
  const auto take = [&](auto compressor) {
    made.set_codecs = [raw = compressor.get()](const Codecs& codecs) {
      return raw->SetCodecs(codecs);
    };
    made.compressor = std::move(compressor);
  };
  if (options.hierarchical) {
    DS_ASSIGN_OR_RETURN(const int host, HostOfRank(*communicator));
    DS_ASSIGN_OR_RETURN(auto compressor, HierarchicalAllReduce::Create(
                                             *communicator, host, std::move(buckets), two_shot));
    take(std::move(compressor));
  } else {
    DS_ASSIGN_OR_RETURN(auto compressor,
                        CompressedAllReduce::Create(communicator, std::move(buckets), two_shot));
    take(std::move(compressor));
  }
  return made;
}

}  // namespace ds
