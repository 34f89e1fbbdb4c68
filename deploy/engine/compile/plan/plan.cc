#include "deploy/engine/compile/plan/plan.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "deploy/engine/compile/plan/placing.h"

namespace ds::engine::compile {
namespace {

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
  const auto life = [&](int i) { return buffers[i].last - buffers[i].first; };
  using Before = std::function<bool(int, int)>;
  const std::pair<const char*, Before> orders[] = {
      {"largest first", [&](int a, int b) { return buffers[a].bytes > buffers[b].bytes; }},
      {"longest life first", [&](int a, int b) { return life(a) > life(b); }},
      {"in order", [&](int a, int b) { return buffers[a].first < buffers[b].first; }},
      {"from the end", [&](int a, int b) { return buffers[a].last > buffers[b].last; }},
      {"largest area first",
       [&](int a, int b) {
         return buffers[a].bytes * (life(a) + 1) > buffers[b].bytes * (life(b) + 1);
       }},
  };
  Placing placing(buffers);
  std::vector<int> best_order;
  Gap best_gap{};
  for (const auto& [name, before] : orders) {
    for (const Gap gap : {Gap::kSmallest, Gap::kLowest}) {
      if (best.bytes == best.bound) continue;
      std::vector<int> order(buffers.size());
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(), before);
      const int64_t bytes = placing.Place(order, gap);
      if (bytes >= best.bytes) continue;
      best.bytes = bytes;
      best.offsets = placing.offsets();
      best.way = std::string(name) + (gap == Gap::kSmallest ? ", smallest gap" : ", lowest gap");
      best_order = std::move(order);
      best_gap = gap;
    }
  }
  if (best.bytes > best.bound) Improve(buffers, placing, best_order, best_gap, best);
  if (best.bytes > best.bound) Search(buffers, best);
  best.least = best.least || best.bytes == best.bound;
  return best;
}

}  // namespace ds::engine::compile
