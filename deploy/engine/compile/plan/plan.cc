#include "deploy/engine/compile/plan/plan.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

namespace ds::engine::compile {
namespace {

bool Meet(const PlanBuffer& a, const PlanBuffer& b) {
  return a.first <= b.last && b.first <= a.last;
}

int64_t Bound(const std::vector<PlanBuffer>& buffers) {
  int steps = 0;
  for (const PlanBuffer& buffer : buffers) steps = std::max(steps, buffer.last + 1);
  std::vector<int64_t> change(static_cast<size_t>(steps) + 1, 0);
  for (const PlanBuffer& buffer : buffers) {
    change[buffer.first] += buffer.bytes;
    change[buffer.last + 1] -= buffer.bytes;
  }
  int64_t live = 0, most = 0;
  for (const int64_t bytes : change) most = std::max(most, live += bytes);
  return most;
}

enum class Gap { kLowest, kSmallest };

// A gap among the placed buffers that meet `buffer` in time.
int64_t FindGap(const std::vector<PlanBuffer>& buffers, const std::vector<int64_t>& offsets,
                size_t buffer, Gap gap) {
  std::vector<std::pair<int64_t, int64_t>> taken;  // begin, end
  for (size_t i = 0; i < buffers.size(); ++i) {
    if (offsets[i] >= 0 && Meet(buffers[i], buffers[buffer])) {
      taken.emplace_back(offsets[i], offsets[i] + buffers[i].bytes);
    }
  }
  std::sort(taken.begin(), taken.end());
  int64_t end = 0, best = -1, least = INT64_MAX;
  for (const auto& [from, to] : taken) {
    if (from - end >= buffers[buffer].bytes && from - end < least) {
      best = end;
      least = from - end;
      if (gap == Gap::kLowest) return best;
    }
    end = std::max(end, to);
  }
  return best >= 0 ? best : end;
}

int64_t Place(const std::vector<PlanBuffer>& buffers, const std::vector<size_t>& order, Gap gap,
              std::vector<int64_t>& offsets) {
  offsets.assign(buffers.size(), -1);
  int64_t bytes = 0;
  for (const size_t i : order) {
    offsets[i] = FindGap(buffers, offsets, i, gap);
    bytes = std::max(bytes, offsets[i] + buffers[i].bytes);
  }
  return bytes;
}

// In an order of placing, each buffer at the lowest gap: some order of them gives the best plan.
// Tries orders depth first within a budget of placements.
class Search {
 public:
  Search(const std::vector<PlanBuffer>& buffers, ArenaPlan& best)
      : buffers_(buffers), best_(best), offsets_(buffers.size(), -1) {}

  void Run() { Extend(0, 0); }

 private:
  void Extend(size_t placed, int64_t bytes) {
    if (placed == buffers_.size()) {
      best_.bytes = bytes;
      best_.offsets = offsets_;
      best_.way = "search";
      return;
    }
    for (size_t i = 0; i < buffers_.size() && best_.bytes > best_.bound; ++i) {
      if (offsets_[i] >= 0) continue;
      if (--budget_ < 0) return;
      const int64_t offset = FindGap(buffers_, offsets_, i, Gap::kLowest);
      const int64_t end = std::max(bytes, offset + buffers_[i].bytes);
      if (end >= best_.bytes) continue;
      offsets_[i] = offset;
      Extend(placed + 1, end);
      offsets_[i] = -1;
    }
  }

  const std::vector<PlanBuffer>& buffers_;
  ArenaPlan& best_;
  std::vector<int64_t> offsets_;
  int64_t budget_ = 200000;
};

constexpr size_t kSearched = 12;  // buffers

}  // namespace

ArenaPlan PlanArena(const std::vector<PlanBuffer>& given, int64_t alignment) {
  std::vector<PlanBuffer> buffers = given;
  ArenaPlan best;
  for (PlanBuffer& buffer : buffers) {
    buffer.bytes = (buffer.bytes + alignment - 1) / alignment * alignment;
    best.apart += buffer.bytes;
  }
  best.bound = Bound(buffers);
  best.bytes = INT64_MAX;
  const auto life = [&](size_t i) { return buffers[i].last - buffers[i].first; };
  using Before = std::function<bool(size_t, size_t)>;
  const std::pair<const char*, Before> orders[] = {
      {"largest first", [&](size_t a, size_t b) { return buffers[a].bytes > buffers[b].bytes; }},
      {"longest life first", [&](size_t a, size_t b) { return life(a) > life(b); }},
      {"in order", [&](size_t a, size_t b) { return buffers[a].first < buffers[b].first; }},
      {"from the end", [&](size_t a, size_t b) { return buffers[a].last > buffers[b].last; }},
      {"largest area first",
       [&](size_t a, size_t b) {
         return buffers[a].bytes * (life(a) + 1) > buffers[b].bytes * (life(b) + 1);
       }},
  };
  for (const auto& [name, before] : orders) {
    for (const Gap gap : {Gap::kSmallest, Gap::kLowest}) {
      if (best.bytes == best.bound) return best;
      std::vector<size_t> order(buffers.size());
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), before);
      std::vector<int64_t> offsets;
      const int64_t bytes = Place(buffers, order, gap, offsets);
      if (bytes >= best.bytes) continue;
      best.bytes = bytes;
      best.offsets = std::move(offsets);
      best.way = std::string(name) + (gap == Gap::kSmallest ? ", smallest gap" : ", lowest gap");
    }
  }
  if (best.bytes > best.bound && buffers.size() <= kSearched) Search(buffers, best).Run();
  return best;
}

}  // namespace ds::engine::compile
