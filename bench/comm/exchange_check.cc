#include "bench/comm/exchange_check.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/crc32c.h"
#include "base/status.h"
#include "codec/bound.h"

namespace ds {
namespace {

constexpr int64_t kBlock = 8192;  // a multiple of every codec bucket
constexpr double kRoundOff = 0x1p-24;

// One block of the simulation.
struct Block {
  std::vector<double> exact;
  std::vector<double> bound;
  std::vector<float> result;
};

class Simulation {
 public:
  Simulation(int ranks, std::shared_ptr<const Codec> codec, const CodecNoise& noise, float scale)
      : ranks_(ranks), codec_(std::move(codec)), noise_(noise), scale_(scale) {}

  absl::Status Run(int64_t begin, size_t count, Block& block) {
    block.exact.assign(count, 0.0);
    block.bound.assign(count, 0.0);
    block.result.assign(count, 0.0f);
    values_.resize(count);
    noise_.first_element = begin;
    for (int r = 0; r < ranks_; ++r) {
      for (size_t i = 0; i < count; ++i) {
        values_[i] = BenchValue(begin + static_cast<int64_t>(i), r);
        block.exact[i] += static_cast<double>(values_[i]) * scale_;
        if (codec_ != nullptr) values_[i] *= scale_;
      }
      noise_.rank = static_cast<uint64_t>(r);
      DS_RETURN_IF_ERROR(RoundTrip(block));
      for (size_t i = 0; i < count; ++i) {
        block.result[i] = r == 0 ? values_[i] : block.result[i] + values_[i];
        block.bound[i] += kRoundOff * (std::abs(block.result[i]) + std::abs(values_[i]));
      }
    }
    values_ = block.result;
    noise_.rank = CodecNoise::kOwnerRank;
    DS_RETURN_IF_ERROR(RoundTrip(block));
    if (codec_ == nullptr) {
      for (float& value : values_) value *= scale_;
    }
    block.result = values_;
    return absl::OkStatus();
  }

 private:
  // values_ as they arrive, and the bound of what that costs.
  absl::Status RoundTrip(Block& block) {
    if (codec_ == nullptr) return absl::OkStatus();
    const size_t bucket = static_cast<size_t>(codec_->options().bucket);
    for (size_t from = 0; from < values_.size(); from += bucket) {
      const double error =
          CodecErrorBound(codec_->options(), absl::MakeConstSpan(values_).subspan(from, bucket));
      for (size_t i = from; i < std::min(values_.size(), from + bucket); ++i)
        block.bound[i] += error;
    }
    bytes_.resize(static_cast<size_t>(codec_->EncodedSize(static_cast<int64_t>(values_.size()))));
    codec_->Encode(values_, noise_, absl::MakeSpan(bytes_));
    return codec_->Decode(bytes_, noise_, absl::MakeSpan(values_));
  }

  const int ranks_;
  const std::shared_ptr<const Codec> codec_;
  CodecNoise noise_;
  const float scale_;
  std::vector<float> values_;
  std::vector<std::byte> bytes_;
};

}  // namespace

float BenchValue(int64_t element, int rank) {
  // A step of splitmix64 (Steele, Lea, Flood, OOPSLA 2014).
  uint64_t bits =
      (static_cast<uint64_t>(element) * 64 + static_cast<uint64_t>(rank)) * 0x9e3779b97f4a7c15u;
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9u;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111ebu;
  return static_cast<float>(static_cast<int32_t>(bits >> 40) - (1 << 23)) * 0x1p-23f;
}

void FillBenchValues(int rank, absl::Span<float> values) {
  for (size_t i = 0; i < values.size(); ++i) values[i] = BenchValue(static_cast<int64_t>(i), rank);
}

absl::StatusOr<ExchangeCheck> CheckExchange(Communicator& communicator,
                                            absl::Span<const float> result,
                                            const std::shared_ptr<const Codec>& codec,
                                            CodecNoise noise, float scale) {
  const int ranks = communicator.size();
  // One rank alone quantises nothing.
  Simulation simulation(ranks, ranks == 1 ? nullptr : codec, noise, scale);
  Block block;
  ExchangeCheck check;
  const int64_t count = static_cast<int64_t>(result.size());
  for (int64_t begin = communicator.rank() * kBlock; begin < count; begin += ranks * kBlock) {
    const size_t size = static_cast<size_t>(std::min(kBlock, count - begin));
    DS_RETURN_IF_ERROR(simulation.Run(begin, size, block));
    for (size_t i = 0; i < size; ++i) {
      const float got = result[static_cast<size_t>(begin) + i];
      check.mismatches += std::memcmp(&got, &block.result[i], sizeof(float)) != 0;
      const double error = std::abs(got - block.exact[i]);
      check.worst_error = std::max(check.worst_error, error);
      if (block.bound[i] > 0)
        check.error_over_bound = std::max(check.error_over_bound, error / block.bound[i]);
    }
  }
  DS_RETURN_IF_ERROR(communicator.AllReduce(MutableBuffer::Of(absl::MakeSpan(&check.mismatches, 1)),
                                            ReduceOp::kSum));
  std::array<double, 2> worst = {check.worst_error, check.error_over_bound};
  DS_RETURN_IF_ERROR(
      communicator.AllReduce(MutableBuffer::Of(absl::MakeSpan(worst)), ReduceOp::kMax));
  check.worst_error = worst[0];
  check.error_over_bound = worst[1];
  const int64_t checksum =
      Crc32c({reinterpret_cast<const char*>(result.data()), result.size() * sizeof(float)});
  std::array<int64_t, 2> extremes = {checksum, -checksum};
  DS_RETURN_IF_ERROR(
      communicator.AllReduce(MutableBuffer::Of(absl::MakeSpan(extremes)), ReduceOp::kMax));
  check.replicas_equal = extremes[0] == -extremes[1];
  return check;
}

}  // namespace ds
