#include "comm/tuning/step_model.h"

#include <algorithm>

namespace ds {
namespace {

class Window {
 public:
  explicit Window(double compute_s) : left_(compute_s) {}

  // Nothing is exchanged until so much compute is left.
  void ComputeUntil(double left) {
    if (left_ <= left) return;
    now_ += left_ - left;
    left_ = left;
  }

  // Something that takes `shared_s` beside compute, which goes on at `rate` meanwhile, and
  // `alone_s` without.
  void Exchange(double alone_s, double shared_s, double rate) {
    double done = 0;  // share of it
    if (left_ > 0 && shared_s > 0) {
      const double beside = rate * shared_s <= left_ ? shared_s : left_ / rate;
      done = beside / shared_s;
      now_ += beside;
      left_ = std::max(0.0, left_ - rate * beside);
    }
    now_ += (1 - done) * alone_s;
  }

  double now() const { return now_; }

 private:
  double now_ = 0;
  double left_;  // compute
};

}  // namespace

double PredictWindow(double compute_s, absl::Span<const BucketCost> buckets,
                     const SharedCost& shared) {
  Window window(compute_s);
  for (const BucketCost& bucket : buckets) {
    window.ComputeUntil(compute_s - std::min(bucket.ready_s, compute_s));
    window.Exchange(bucket.coding_s, bucket.coding_s / shared.other_rate, shared.compute_rate);
    if (bucket.shared_link_s > 0) {
      window.Exchange(bucket.link_s, bucket.shared_link_s,
                      1 - std::clamp(bucket.stolen_s / bucket.shared_link_s, 0.0, 1.0));
    } else {
      window.Exchange(bucket.link_s, 0, 1);
    }
  }
  window.ComputeUntil(0);
  return window.now();
}

}  // namespace ds
