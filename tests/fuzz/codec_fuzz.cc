// Any bytes as an encoding of some options and count: DataLoss, or values, which DecodeAdd adds
// just so; never a crash. The first byte is the kind, the next ones options, then a count, then the
// encoding, whose length is left as it is and then made right.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "codec/codec.h"

namespace ds {
namespace {

constexpr size_t kHeader = 6;

CodecOptions OptionsOf(const uint8_t* data) {
  CodecOptions options;
  options.kind = static_cast<CodecKind>(data[0] % 6);
  options.bits = 1 + data[1] % 8;
  options.bucket = int64_t{64} << (data[2] % 7);
  options.scale = (data[2] & 0x80) != 0 ? CodecScale::kMinMax : CodecScale::kMaxNorm;
  options.rotate =
      options.kind == CodecKind::kUniform && options.bits <= 3 && (data[2] & 0x40) != 0;
  options.density = (1 + data[3]) / 256.0;
  return options;
}

bool Same(float a, float b) {
  return std::memcmp(&a, &b, sizeof(a)) == 0 || (std::isnan(a) && std::isnan(b));
}

void Check(const Codec& codec, absl::Span<const std::byte> bytes, size_t count) {
  const CodecNoise noise = {.seed = 1};
  std::vector<float> values(count), sum(count, 0.5f);
  const absl::Status status = codec.Decode(bytes, noise, absl::MakeSpan(values));
  const absl::Status added = codec.DecodeAdd(bytes, noise, absl::MakeSpan(sum));
  DS_CHECK(status.code() == added.code()) << status << " and " << added;
  if (!status.ok()) {
    DS_CHECK(status.code() == absl::StatusCode::kDataLoss && !status.message().empty()) << status;
    return;
  }
  DS_CHECK(static_cast<int64_t>(bytes.size()) == codec.EncodedSize(static_cast<int64_t>(count)));
  for (size_t i = 0; i < count; ++i)
    DS_CHECK(Same(sum[i], 0.5f + values[i])) << i << ": " << sum[i] << " and " << values[i];
}

}  // namespace
}  // namespace ds

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < ds::kHeader) return 0;
  const auto codec = ds::Codec::Create(ds::OptionsOf(data));
  DS_CHECK(codec.ok()) << codec.status();
  const size_t count = (data[4] | data[5] << 8) % 9000;
  // Blocks of just these sizes, so that reading past their end is seen.
  std::vector<std::byte> bytes(size - ds::kHeader);
  if (!bytes.empty()) std::memcpy(bytes.data(), data + ds::kHeader, bytes.size());
  ds::Check(**codec, bytes, count);
  bytes.resize(static_cast<size_t>((*codec)->EncodedSize(static_cast<int64_t>(count))));
  bytes.shrink_to_fit();
  ds::Check(**codec, bytes, count);
  return 0;
}
