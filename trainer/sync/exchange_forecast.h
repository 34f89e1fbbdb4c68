// Says what the exchange will add to a training step, after the run's first steps: those are
// exchanged after backward, which gives the same bits, so that compute is seen without exchange,
// and when each bucket is ready. Then the link, alone and beside compute, and the codecs are
// measured, and put together (comm/tuning/step_model.h).
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "comm/communicator.h"
#include "comm/compress/gradient_segment.h"

namespace ds {

struct ExchangeForecastOptions {
  int compute_threads = 1;  // of a rank
  bool error_feedback = true;
  bool overlap = true;  // false: all buckets go at the end of backward, later too
};

class ExchangeForecast {
 public:
  static constexpr int kWarmUpSteps = 3;   // whose times say little
  static constexpr int kWatchedSteps = 7;  // after them, of which the medians count

  ExchangeForecast(ExchangeForecastOptions options, int buckets)
      : options_(options), ready_s_(static_cast<size_t>(buckets) + 1) {}

  // This step's buckets are to be held back until backward is over.
  bool holds_back() const { return step_ < kWarmUpSteps + kWatchedSteps; }
  // And its times count.
  bool watches() const { return holds_back() && step_ >= kWarmUpSteps; }

  // Of a step that holds_back(), in this order, Ready for each bucket. The clock's readings in
  // seconds.
  void Begin(double now_s) { begin_s_ = now_s; }
  void Ready(int bucket, double now_s);
  void ComputeDone(double now_s);
  // When its exchange is over. After the last one measures and predicts. The buckets have the
  // codecs that later steps use. Collective.
  absl::Status StepDone(Communicator& communicator, absl::Span<const GradientBucket> buckets);

  // Seconds by which the exchange lengthens a step of this rank, waits for slower ranks included;
  // below 0: not known yet.
  double added_s() const { return added_s_; }

 private:
  absl::Status Predict(Communicator& communicator, absl::Span<const GradientBucket> buckets);

  const ExchangeForecastOptions options_;
  int step_ = 0;
  double begin_s_ = 0;
  double added_s_ = -1;
  std::vector<std::vector<double>>
      ready_s_;  // of each bucket in the watched steps, since Begin; last: of compute's end
};

}  // namespace ds
