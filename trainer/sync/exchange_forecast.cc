#include "trainer/sync/exchange_forecast.h"

#include <algorithm>

#include "base/median.h"
#include "base/status.h"
#include "comm/tuning/cost_model.h"
#include "comm/tuning/step_model.h"

namespace ds {
void ExchangeForecast::Ready(int bucket, double now_s) {
  if (watches()) ready_s_[static_cast<size_t>(bucket)].push_back(now_s - begin_s_);
}

void ExchangeForecast::ComputeDone(double now_s) {
  if (watches()) ready_s_.back().push_back(now_s - begin_s_);
}

absl::Status ExchangeForecast::StepDone(Communicator& communicator,
                                        absl::Span<const GradientBucket> buckets) {
  ++step_;
  return holds_back() ? absl::OkStatus() : Predict(communicator, buckets);
}

absl::Status ExchangeForecast::Predict(Communicator& communicator,
                                       absl::Span<const GradientBucket> buckets) {
  const int ranks = communicator.size();
  DS_ASSIGN_OR_RETURN(const CostProbe probe, ProbeLike(buckets, ranks));
  DS_ASSIGN_OR_RETURN(const LinearCost link, MeasureLink(communicator, probe));
  DS_ASSIGN_OR_RETURN(const SharedCost shared,
                      MeasureShared(communicator, options_.compute_threads, probe));
  CodingCosts codings;
  MeasureCodecs(buckets, ranks, options_.error_feedback, probe, codings);
  DS_ASSIGN_OR_RETURN(std::vector<BucketCost> costs,
                      PredictBuckets(buckets, ranks, link, shared, codings));
  // After the buckets a flag is summed up, in two exchanges.
  costs.push_back({.link_s = 2 * link.each_s});
  const double own_s = Median(ready_s_.back());
  // Buckets go when the last rank has them, which is another one in each step, and the slowest
  // rank's coding counts.
  std::vector<double> slowest;
  for (size_t i = 0; i < costs.size(); ++i) {
    slowest.push_back(costs[i].coding_s);
    slowest.insert(slowest.end(), ready_s_[i].begin(), ready_s_[i].end());
  }
  DS_RETURN_IF_ERROR(
      communicator.AllReduce(MutableBuffer::Of(absl::MakeSpan(slowest)), ReduceOp::kMax));
  auto next = slowest.begin();
  for (size_t i = 0; i < costs.size(); ++i, next += kWatchedSteps) {
    costs[i].coding_s = *next++;
    costs[i].ready_s = Median({next, next + kWatchedSteps});
  }
  if (!options_.overlap) {
    for (BucketCost& cost : costs) cost.ready_s = costs.back().ready_s;
  }
  added_s_ = PredictWindow(costs.back().ready_s, costs, shared) - own_s;
  return absl::OkStatus();
}

}  // namespace ds
