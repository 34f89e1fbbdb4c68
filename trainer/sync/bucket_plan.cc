#include "trainer/sync/bucket_plan.h"

#include <algorithm>
#include <cstddef>

namespace ds {
namespace {

constexpr int64_t kFewestBuckets = 4;
constexpr int64_t kLastBucketShare = 32;

}  // namespace

BucketPlan PlanBuckets(absl::Span<const int64_t> sizes, absl::Span<const int> forward_order,
                       int64_t capacity) {
  BucketPlan plan{.bucket = std::vector<int>(sizes.size()),
                  .offset = std::vector<int64_t>(sizes.size())};
  int64_t total = 0;
  for (int64_t size : sizes) total += size;
  const int64_t full = std::max<int64_t>(1, std::min(capacity, total / kFewestBuckets));
  const int64_t small = full / kLastBucketShare;
  int64_t left = total;  // elements not in a bucket yet
  bool last = false;     // in the last, small bucket
  for (size_t at = forward_order.size(); at-- > 0;) {
    const size_t parameter = static_cast<size_t>(forward_order[at]);
    // The first parameter used may be larger than a small bucket: it then has the last one to
    // itself.
    const bool begin_last = !last && (left <= small || at == 0);
    if (plan.sizes.empty() || begin_last || plan.sizes.back() >= full) plan.sizes.push_back(0);
    last = last || begin_last;
    plan.bucket[parameter] = static_cast<int>(plan.sizes.size()) - 1;
    plan.offset[parameter] = plan.sizes.back();
    plan.sizes.back() += sizes[parameter];
    left -= sizes[parameter];
  }
  return plan;
}

}  // namespace ds
