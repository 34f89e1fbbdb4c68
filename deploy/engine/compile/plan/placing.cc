#include "deploy/engine/compile/plan/placing.h"

#include <algorithm>
#include <random>

namespace ds::engine::compile {
namespace {

// Placements of a buffer beside another one that improving may take: about a second.
constexpr int64_t kPatience = 60'000'000;
constexpr int64_t kMostRounds = 3000;

}  // namespace

Placing::Placing(const std::vector<PlanBuffer>& buffers)
    : buffers_(buffers), meeting_(buffers.size()), offsets_(buffers.size(), -1) {
  for (size_t i = 0; i < buffers.size(); ++i) {
    for (size_t j = 0; j < buffers.size(); ++j) {
      if (i != j && buffers[i].first <= buffers[j].last && buffers[j].first <= buffers[i].last)
        meeting_[i].push_back(static_cast<int>(j));
    }
  }
}

int64_t Placing::FindGap(int buffer, Gap gap) {
  taken_.clear();
  for (const int other : Meeting(buffer)) {
    const int64_t offset = offsets_[other];
    if (offset >= 0) taken_.emplace_back(offset, offset + buffers_[other].bytes);
  }
  std::sort(taken_.begin(), taken_.end());
  int64_t end = 0, best = -1, least = INT64_MAX;
  for (const auto& [from, to] : taken_) {
    if (from - end >= buffers_[buffer].bytes && from - end < least) {
      best = end;
      least = from - end;
      if (gap == Gap::kLowest) return best;
    }
    end = std::max(end, to);
  }
  return best >= 0 ? best : end;
}

int64_t Placing::Place(const std::vector<int>& order, Gap gap) {
  std::fill(offsets_.begin(), offsets_.end(), -1);
  int64_t bytes = 0;
  for (const int buffer : order) {
    offsets_[buffer] = FindGap(buffer, gap);
    bytes = std::max(bytes, offsets_[buffer] + buffers_[buffer].bytes);
  }
  return bytes;
}

void Improve(const std::vector<PlanBuffer>& buffers, Placing& placing, std::vector<int> order,
             Gap gap, ArenaPlan& plan) {
  const auto count = static_cast<int64_t>(buffers.size());
  std::mt19937 random(1);
  const auto below = [&](size_t bound) { return random() % bound; };
  int64_t bytes = placing.Place(order, gap);
  const int64_t rounds = std::min(kMostRounds, kPatience / (count * count));
  for (int64_t round = 0; round < rounds && plan.bytes > plan.bound; ++round) {
    // One that reaches the top is placed before one that stands in its way.
    std::vector<int> highest;
    for (int i = 0; i < count; ++i) {
      if (placing.offsets()[i] + buffers[i].bytes == bytes && !placing.Meeting(i).empty())
        highest.push_back(i);
    }
    if (highest.empty()) return;  // alone at its step: the bound
    const int moved = highest[below(highest.size())];
    const auto& meeting = placing.Meeting(moved);
    const int other = meeting[below(meeting.size())];
    std::vector<int> changed = order;
    changed.erase(std::find(changed.begin(), changed.end(), moved));
    changed.insert(std::find(changed.begin(), changed.end(), other), moved);
    const int64_t now = placing.Place(changed, gap);
    if (now > bytes) {
      placing.Place(order, gap);
      continue;
    }
    order = std::move(changed);
    bytes = now;
    if (now >= plan.bytes) continue;
    plan.bytes = now;
    plan.offsets = placing.offsets();
    plan.way += plan.way.ends_with("improved") ? "" : ", improved";
  }
}

}  // namespace ds::engine::compile
