#include "comm/compress/cost_model.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/status.h"
#include "comm/compress/exchange_plan.h"
#include "comm/compress/piece_coding.h"

namespace ds {
namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double ProcessCpu() {
  timespec now = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct ExchangeTime {
  double wall_s = 0, cpu_s = 0;
};

// Of one exchange, the slowest rank's mean: exchanges follow one another as those of buckets do, so that a link whose two directions
// hinder each other, or that stalls now and then, is seen as training will see it.
absl::StatusOr<ExchangeTime> TimeExchange(Communicator& communicator, int64_t bytes, int repeats) {
  const int ranks = communicator.size(), me = communicator.rank();
  const size_t each = static_cast<size_t>(bytes / (ranks - 1));
  std::vector<std::byte> out(each), in(each * static_cast<size_t>(ranks));
  std::vector<absl::Span<const std::byte>> send;
  std::vector<absl::Span<std::byte>> receive;
  for (int r = 0; r < ranks; ++r) {
    const size_t size = r == me ? 0 : each;
    send.push_back(absl::MakeConstSpan(out).subspan(0, size));
    receive.push_back(absl::MakeSpan(in).subspan(static_cast<size_t>(r) * each, size));
  }
  // Connections are made, memory is touched, and what a link lends to bursts is used up.
  DS_RETURN_IF_ERROR(communicator.Exchange(send, receive));
  const double start = Now(), cpu_start = ProcessCpu();
  for (int i = 0; i < repeats; ++i) DS_RETURN_IF_ERROR(communicator.Exchange(send, receive));
  std::array<double, 2> sums = {Now() - start, ProcessCpu() - cpu_start};
  DS_RETURN_IF_ERROR(communicator.AllReduce(MutableBuffer::Of(absl::MakeSpan(sums)), ReduceOp::kMax));
  return ExchangeTime{sums[0] / repeats, std::min(sums[0], sums[1]) / repeats};
}

// The shortest of a few runs, a value.
template <typename F>
double Shortest(int64_t values, F run) {
  constexpr int kRepeats = 3;
  double shortest = 1e9;
  for (int i = 0; i < kRepeats; ++i) {
    const double start = Now();
    run();
    shortest = std::min(shortest, Now() - start);
  }
  return shortest / static_cast<double>(values);
}

}  // namespace

absl::StatusOr<LinkCost> MeasureLink(Communicator& communicator, const CostProbe& probe) {
  if (probe.small_bytes < 0 || probe.large_bytes <= probe.small_bytes || probe.repeats < 1) {
    return absl::InvalidArgumentError("a link is probed with two ascending sizes, at least once");
  }
  if (communicator.size() == 1) return LinkCost();
  DS_ASSIGN_OR_RETURN(const ExchangeTime small, TimeExchange(communicator, probe.small_bytes, probe.repeats));
  DS_ASSIGN_OR_RETURN(const ExchangeTime large, TimeExchange(communicator, probe.large_bytes, probe.repeats));
  const auto a_byte = [&probe](double small_s, double large_s) {
    return std::max(0.0, large_s - small_s) / static_cast<double>(probe.large_bytes - probe.small_bytes);
  };
  const auto latency = [&probe](double small_s, double seconds_per_byte) {
    return std::max(0.0, small_s - static_cast<double>(probe.small_bytes) * seconds_per_byte);
  };
  LinkCost cost;
  cost.seconds_per_byte = a_byte(small.wall_s, large.wall_s);
  cost.latency_s = latency(small.wall_s, cost.seconds_per_byte);
  cost.cpu_seconds_per_byte = a_byte(small.cpu_s, large.cpu_s);
  cost.cpu_latency_s = latency(small.cpu_s, cost.cpu_seconds_per_byte);
  return cost;
}

CodingCost MeasureCoding(std::shared_ptr<const Codec> codec, int ranks, bool error_feedback, const CostProbe& probe) {
  const int64_t values = std::max<int64_t>(1, probe.coding_values);
  std::vector<float> gradient(static_cast<size_t>(values)), current(gradient.size()), pending(gradient.size());
  // Normal values are slow to make: a few, over and over.
  constexpr size_t kPeriod = 1 << 14;
  CounterRandom random(1);
  for (size_t i = 0; i < gradient.size(); ++i) {
    gradient[i] = i < kPeriod ? static_cast<float>(random.NextNormal()) : gradient[i - kPeriod];
  }
  const GradientSegment segment = {"cost", absl::MakeSpan(gradient), 0, std::move(codec), {}};
  const PlanPiece all = {0, 0, values, 0, segment.EncodedSize(values)};
  const bool feedback = error_feedback && segment.codec != nullptr;
  const ResidualPart residual = feedback ? ResidualPart{current, absl::MakeSpan(pending)} : ResidualPart();
  std::vector<std::byte> contribution(static_cast<size_t>(all.bytes)), sum = contribution;
  const CodingStep step;
  CodingCost cost;
  cost.encode_s = Shortest(values, [&] { EncodeContribution(segment, all, step, 0, residual, absl::MakeSpan(contribution)); });
  const auto same = [&](int) -> absl::Span<const std::byte> { return contribution; };
  // All of it was encoded just now: neither can fail.
  cost.reduce_s = Shortest(values, [&] {
    (void)ReduceContributions(segment, all, step, ranks, same, residual, absl::MakeSpan(sum));
  });
  cost.decode_s = Shortest(values, [&] { (void)DecodeSum(segment, all, step, sum); });
  return cost;
}

void MeasureCodecs(absl::Span<const GradientBucket> buckets, int ranks, bool error_feedback, const CostProbe& probe,
                   CodingCosts& costs) {
  for (const GradientBucket& bucket : buckets) {
    for (const GradientSegment& segment : bucket) {
      if (costs.count(segment.codec.get()) == 0) {
        costs[segment.codec.get()] = MeasureCoding(segment.codec, ranks, error_feedback, probe);
      }
    }
  }
}

absl::StatusOr<ExchangeCost> PredictExchange(absl::Span<const GradientBucket> buckets, int ranks, const LinkCost& link,
                                             const CodingCosts& costs) {
  constexpr double kExchangesABucket = 2;
  ExchangeCost cost;
  if (ranks == 1) return cost;
  for (const GradientBucket& bucket : buckets) {
    DS_ASSIGN_OR_RETURN(const ExchangePlan plan, ExchangePlan::Make(bucket, ranks, 0));
    int64_t most = 0;
    for (int r = 0; r < ranks; ++r) most = std::max(most, plan.WireBytes(r));
    cost.wire_bytes += most;
    cost.link_s += kExchangesABucket * link.latency_s + static_cast<double>(most) * link.seconds_per_byte;
    cost.link_cpu_s += kExchangesABucket * link.cpu_latency_s + static_cast<double>(most) * link.cpu_seconds_per_byte;
    for (const GradientSegment& segment : bucket) {
      const CodingCost& coding = costs.at(segment.codec.get());
      const double values = static_cast<double>(segment.count());
      cost.coding_s += values * (coding.encode_s + (coding.reduce_s + (ranks - 1) * coding.decode_s) / ranks);
    }
  }
  return cost;
}

double PredictStep(double step_s, double backward_s, const ExchangeCost& cost) {
  return step_s + cost.coding_s + cost.link_cpu_s + std::max(0.0, cost.link_s - cost.link_cpu_s - backward_s);
}

absl::StatusOr<CompressionDecision> DecideCompression(Communicator& communicator, absl::Span<const GradientBucket> buckets,
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
  DS_RETURN_IF_ERROR(communicator.AllReduce(MutableBuffer::Of(absl::MakeSpan(coding)), ReduceOp::kMax));
  decision.raw.coding_s = coding[0];
  decision.compressed.coding_s = coding[1];
  decision.compress = decision.compressed.seconds() < (1 - kLeastGain) * decision.raw.seconds();
  return decision;
}

}  // namespace ds
