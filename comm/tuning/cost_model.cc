#include "comm/tuning/cost_model.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/status.h"
#include "comm/compress/exchange_plan.h"
#include "comm/compress/two_shot_arithmetic.h"

namespace ds {
namespace {

// The shortest of a few runs, a value.
template <typename F>
double Shortest(int64_t values, F run) {
  constexpr int kRepeats = 3;
  double shortest = 1e9;
  for (int i = 0; i < kRepeats; ++i) {
    const double start = SteadySeconds();
    run();
    shortest = std::min(shortest, SteadySeconds() - start);
  }
  return shortest / static_cast<double>(values);
}

}  // namespace

CodingCost MeasureCoding(std::shared_ptr<const Codec> codec, int ranks, bool error_feedback,
                         const CostProbe& probe) {
  const int64_t values = std::max<int64_t>(1, probe.coding_values);
  std::vector<float> gradient(static_cast<size_t>(values)), current(gradient.size()),
      pending(gradient.size());
  // Normal values are slow to make: a few, over and over.
  constexpr size_t kPeriod = 1 << 14;
  CounterRandom random(1);
  for (size_t i = 0; i < gradient.size(); ++i) {
    gradient[i] = i < kPeriod ? static_cast<float>(random.NextNormal()) : gradient[i - kPeriod];
  }
  const GradientSegment segment = {"cost", absl::MakeSpan(gradient), 0, std::move(codec), {}};
  const PlanPiece all = {0, 0, values, 0, segment.EncodedSize(values)};
  const bool feedback = error_feedback && segment.codec != nullptr;
  const ResidualPart residual =
      feedback ? ResidualPart{current, absl::MakeSpan(pending)} : ResidualPart();
  std::vector<std::byte> contribution(static_cast<size_t>(all.bytes)), sum = contribution;
  const TwoShotStep step;
  CodingCost cost;
  cost.encode_s = Shortest(values, [&] {
    EncodeContribution(segment, all, step, 0, residual, absl::MakeSpan(contribution));
  });
  const auto same = [&](int) -> absl::Span<const std::byte> { return contribution; };
  // All of it was encoded just now: neither can fail.
  cost.reduce_s = Shortest(values, [&] {
    (void)ReduceContributions(segment, all, step, ranks, same, residual, absl::MakeSpan(sum));
  });
  cost.decode_s = Shortest(values, [&] { (void)DecodeSum(segment, all, step, sum); });
  return cost;
}

void MeasureCodecs(absl::Span<const GradientBucket> buckets, int ranks, bool error_feedback,
                   const CostProbe& probe, CodingCosts& costs) {
  for (const GradientBucket& bucket : buckets) {
    for (const GradientSegment& segment : bucket) {
      if (costs.count(segment.codec.get()) == 0) {
        costs[segment.codec.get()] = MeasureCoding(segment.codec, ranks, error_feedback, probe);
      }
    }
  }
}

namespace {

constexpr int kExchangesABucket = 2;

// Of the rank that sends most.
absl::StatusOr<int64_t> WireBytes(const GradientBucket& bucket, int ranks) {
  DS_ASSIGN_OR_RETURN(const ExchangePlan plan, ExchangePlan::Make(bucket, ranks, 0));
  int64_t most = 0;
  for (int r = 0; r < ranks; ++r) most = std::max(most, plan.WireBytes(r));
  return most;
}

double CodingSeconds(const GradientBucket& bucket, int ranks, const CodingCosts& costs) {
  double seconds = 0;
  for (const GradientSegment& segment : bucket) {
    const CodingCost& coding = costs.at(segment.codec.get());
    seconds += static_cast<double>(segment.count()) *
               (coding.encode_s + (coding.reduce_s + (ranks - 1) * coding.decode_s) / ranks);
  }
  return seconds;
}

}  // namespace

absl::StatusOr<ExchangeCost> PredictExchange(absl::Span<const GradientBucket> buckets, int ranks,
                                             const LinearCost& link, const CodingCosts& costs) {
  ExchangeCost cost;
  if (ranks == 1) return cost;
  for (const GradientBucket& bucket : buckets) {
    DS_ASSIGN_OR_RETURN(const int64_t bytes, WireBytes(bucket, ranks));
    cost.wire_bytes += bytes;
    cost.link_s += link.of(static_cast<double>(bytes), kExchangesABucket);
    cost.coding_s += CodingSeconds(bucket, ranks, costs);
  }
  return cost;
}

absl::StatusOr<CostProbe> ProbeLike(absl::Span<const GradientBucket> buckets, int ranks) {
  constexpr int64_t kLeastBytes = 64 << 10;
  CostProbe probe = {.repeats = 4, .repeat_s = 1.2};
  probe.large_bytes = kLeastBytes;
  for (const GradientBucket& bucket : buckets) {
    DS_ASSIGN_OR_RETURN(const int64_t bytes, WireBytes(bucket, ranks));
    probe.large_bytes = std::max(probe.large_bytes, bytes / kExchangesABucket);
  }
  return probe;
}

absl::StatusOr<std::vector<BucketCost>> PredictBuckets(absl::Span<const GradientBucket> buckets,
                                                       int ranks, const LinearCost& link,
                                                       const SharedCost& shared,
                                                       const CodingCosts& costs) {
  std::vector<BucketCost> predicted(buckets.size());
  if (ranks == 1) return predicted;
  for (size_t i = 0; i < buckets.size(); ++i) {
    DS_ASSIGN_OR_RETURN(const int64_t wire_bytes, WireBytes(buckets[i], ranks));
    const double bytes = static_cast<double>(wire_bytes);
    predicted[i] = {.coding_s = CodingSeconds(buckets[i], ranks, costs),
                    .link_s = link.of(bytes, kExchangesABucket),
                    .shared_link_s = shared.exchange.of(bytes, kExchangesABucket),
                    .stolen_s = shared.stolen.of(bytes, kExchangesABucket)};
  }
  return predicted;
}

absl::StatusOr<CompressionDecision> DecideCompression(Communicator& communicator,
                                                      absl::Span<const GradientBucket> buckets,
                                                      bool error_feedback, const CostProbe& probe) {
  CompressionDecision decision;
  const int ranks = communicator.size();
  if (ranks == 1) return decision;
  DS_ASSIGN_OR_RETURN(decision.link, MeasureLink(communicator, probe));
  std::vector<GradientBucket> raw(buckets.begin(), buckets.end());
  for (GradientBucket& bucket : raw) {
    for (GradientSegment& segment : bucket) segment.codec = nullptr;
  }
  CodingCosts costs;
  MeasureCodecs(raw, ranks, error_feedback, probe, costs);
  MeasureCodecs(buckets, ranks, error_feedback, probe, costs);
  DS_ASSIGN_OR_RETURN(decision.raw, PredictExchange(raw, ranks, decision.link, costs));
  DS_ASSIGN_OR_RETURN(decision.compressed, PredictExchange(buckets, ranks, decision.link, costs));
  // The slowest rank's processor counts, and all decide alike.
  std::array<double, 2> coding = {decision.raw.coding_s, decision.compressed.coding_s};
  DS_RETURN_IF_ERROR(
      communicator.AllReduce(MutableBuffer::Of(absl::MakeSpan(coding)), ReduceOp::kMax));
  decision.raw.coding_s = coding[0];
  decision.compressed.coding_s = coding[1];
  decision.compress = decision.compressed.seconds() < (1 - kLeastGain) * decision.raw.seconds();
  return decision;
}

}  // namespace ds
