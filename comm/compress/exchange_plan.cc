#include "comm/compress/exchange_plan.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace ds {
namespace {

// Raw values may be cut anywhere; a cache line at a time is enough.
constexpr int64_t kRawUnit = 16;

int64_t Unit(const GradientSegment& segment) {
  return segment.codec == nullptr ? kRawUnit : segment.codec->options().bucket;
}

absl::Status Check(absl::Span<const GradientSegment> segments) {
  for (const GradientSegment& segment : segments) {
    if (segment.codec != nullptr && segment.first_element % segment.codec->options().bucket != 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          segment.name, ": a segment starts at element ", segment.first_element,
          ", which is no multiple of the codec's bucket of ", segment.codec->options().bucket));
    }
  }
  return absl::OkStatus();
}

// Before values[element] of a segment; the end of everything is {number of segments, 0}.
struct Cut {
  size_t segment = 0;
  int64_t element = 0;
};

// The number of leading values of `segment`, whole units or all of them, whose encoding is nearest
// to `bytes`.
int64_t NearestCount(const GradientSegment& segment, int64_t bytes) {
  const int64_t unit = Unit(segment), units = (segment.count() + unit - 1) / unit;
  const auto count = [&](int64_t n) { return std::min(n * unit, segment.count()); };
  int64_t low = 0, high = units;  // the encoding of `low` units is at most `bytes`
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (segment.EncodedSize(count(middle)) <= bytes ? low : high) = middle;
  }
  const int64_t below = bytes - segment.EncodedSize(count(low)),
                above = segment.EncodedSize(count(high)) - bytes;
  return count(below <= above ? low : high);
}

// The places that divide the encoded bytes into `parts`, both ends included. `starts`: where each
// segment's encoding starts.
std::vector<Cut> CutEvenly(absl::Span<const GradientSegment> segments,
                           const std::vector<int64_t>& starts, int64_t total, int64_t parts) {
  std::vector<Cut> cuts = {{0, 0}};
  for (int64_t part = 1; part < parts; ++part) {
    // total * part could overflow.
    const int64_t target = total / parts * part + total % parts * part / parts;
    const auto after = std::upper_bound(starts.begin(), starts.end(), target);
    if (after == starts.begin()) {  // no segments at all
      cuts.push_back({0, 0});
      continue;
    }
    const size_t segment = static_cast<size_t>(after - starts.begin()) - 1;
    cuts.push_back({segment, NearestCount(segments[segment], target - starts[segment])});
  }
  cuts.push_back({segments.size(), 0});
  return cuts;
}

}  // namespace

absl::StatusOr<ExchangePlan> ExchangePlan::Make(absl::Span<const GradientSegment> segments,
                                                int ranks, int64_t chunk_bytes) {
  if (ranks < 1 || chunk_bytes < 0)
    return absl::InvalidArgumentError("an exchange needs a rank, and no negative chunk size");
  DS_RETURN_IF_ERROR(Check(segments));
  int64_t total = 0;
  std::vector<int64_t> starts;
  for (const GradientSegment& segment : segments) {
    starts.push_back(total);
    total += segment.EncodedSize(segment.count());
  }
  ExchangePlan plan;
  plan.ranks_ = ranks;
  if (chunk_bytes > 0)
    plan.chunks_ =
        static_cast<int>(std::max<int64_t>(1, (total / ranks + chunk_bytes - 1) / chunk_bytes));
  const int64_t parts = int64_t{ranks} * plan.chunks_;
  const std::vector<Cut> cuts = CutEvenly(segments, starts, total, parts);
  int64_t offset = 0;
  for (size_t part = 0; part + 1 < cuts.size(); ++part) {
    const Cut from = cuts[part], to = cuts[part + 1];
    plan.offsets_.push_back(offset);
    std::vector<PlanPiece>& pieces = plan.pieces_.emplace_back();
    for (size_t s = from.segment; s < segments.size() && s <= to.segment; ++s) {
      const int64_t begin = s == from.segment ? from.element : 0;
      const int64_t end = s == to.segment ? to.element : segments[s].count();
      if (end <= begin) continue;
      const int64_t bytes = segments[s].EncodedSize(end - begin);
      pieces.push_back({static_cast<int>(s), begin, end - begin, offset, bytes});
      offset += bytes;
    }
  }
  plan.offsets_.push_back(offset);
  return plan;
}

}  // namespace ds
