#include "trainer/sync/exchange_forecast.h"

#include <algorithm>
#include <cstdio>

#include "base/status.h"
#include "comm/compress/cost_model.h"
#include "comm/compress/step_model.h"

namespace ds {
namespace {

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

void ExchangeForecast::Ready(int bucket, double now_s) {
  if (watches()) ready_s_[static_cast<size_t>(bucket)].push_back(now_s - begin_s_);
}

void ExchangeForecast::ComputeDone(double now_s) {
  if (watches()) ready_s_.back().push_back(now_s - begin_s_);
}

absl::Status ExchangeForecast::StepDone(Communicator& communicator, absl::Span<const GradientBucket> buckets) {
  ++step_;
  return holds_back() ? absl::OkStatus() : Predict(communicator, buckets);
}

absl::Status ExchangeForecast::Predict(Communicator& communicator, absl::Span<const GradientBucket> buckets) {
  const int ranks = communicator.size();
  DS_ASSIGN_OR_RETURN(const LinkCost link, MeasureLink(communicator));
  DS_ASSIGN_OR_RETURN(const SharedCost shared, MeasureShared(communicator, options_.compute_threads));
  CodingCosts codings;
  MeasureCodecs(buckets, ranks, options_.error_feedback, {}, codings);
  DS_ASSIGN_OR_RETURN(std::vector<BucketCost> costs, PredictBuckets(buckets, ranks, link, shared, codings));
  // After the buckets a flag is summed up, in two exchanges.
  costs.push_back({.link_s = 2 * link.latency_s});
  // Buckets go when the last rank has them, and the slowest rank's coding counts.
  std::vector<double> slowest;
  for (size_t i = 0; i < costs.size(); ++i) {
    slowest.push_back(Median(options_.overlap ? ready_s_[i] : ready_s_.back()));
    slowest.push_back(costs[i].coding_s);
  }
  DS_RETURN_IF_ERROR(communicator.AllReduce(MutableBuffer::Of(absl::MakeSpan(slowest)), ReduceOp::kMax));
  for (size_t i = 0; i < costs.size(); ++i) {
    costs[i].ready_s = slowest[2 * i];
    costs[i].coding_s = slowest[2 * i + 1];
  }
  const double compute_s = costs.back().ready_s;
  if (communicator.rank() == 0) {  // DEBUGTMP
    fprintf(stderr, "TMP link %.1fus %.3f ns/B | shared %.1fus %.3f ns/B stolen %.1fus %.3f ns/B rates %.2f %.2f | compute %.1f\n", link.latency_s*1e6, link.seconds_per_byte*1e9, shared.exchange.each_s*1e6, shared.exchange.per_byte_s*1e9, shared.stolen.each_s*1e6, shared.stolen.per_byte_s*1e9, shared.compute_rate, shared.other_rate, compute_s*1e3);
    for (auto& c : costs) fprintf(stderr, "TMP ready %.1f coding %.2f link %.2f shared %.2f stolen %.2f\n", c.ready_s*1e3, c.coding_s*1e3, c.link_s*1e3, c.shared_link_s*1e3, c.stolen_s*1e3);
  }
  added_s_ = PredictWindow(compute_s, costs, shared) - compute_s;
  return absl::OkStatus();
}

}  // namespace ds
