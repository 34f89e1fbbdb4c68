#include "deploy/engine/runtime/place_outputs.h"

#include <algorithm>
#include <span>

#include "deploy/engine/runtime/kernels/args.h"

namespace ds::engine {
namespace {

// Outputs that gaps are looked for; a file may have many, and further ones lie behind all others.
constexpr size_t kMostSearches = 64;

struct Life {
  uint32_t first = file::kNone, last = 0;  // operators
};

// Of tensors that are no views; what has a view's bytes lives as long as any of them.
std::vector<Life> LivesOf(const FileView& view) {
  std::vector<Life> lives(view.tensors.size());
  for (uint32_t i = 0; i < view.operators.size(); ++i) {
    const auto touch = [&](std::span<const uint32_t> ids) {
      for (const uint32_t id : ids) {
        const uint32_t base = view.tensors[id].view_of;
        Life& life = lives[base == file::kNone ? id : base];
        life.first = std::min(life.first, i);
        life.last = i;
      }
    };
    touch(view.Inputs(view.operators[i]));
    touch(view.Outputs(view.operators[i]));
  }
  return lives;
}

struct Taken {
  int64_t begin, end;
  uint32_t last;  // operator that touches it
};

// The lowest gap of `bytes` among those that are touched at `from` or later; `taken` by begin.
int64_t LowestGap(const std::vector<Taken>& taken, uint32_t from, int64_t bytes) {
  int64_t at = 0;
  for (const Taken& one : taken) {
    if (one.last < from) continue;
    if (at + bytes <= one.begin) break;
    at = std::max(at, RoundUp(one.end, file::kAlignment));
  }
  return at;
}

}  // namespace

OutputPlaces PlaceOutputs(const FileView& view) {
  const std::vector<Life> lives = LivesOf(view);
  std::vector<Taken> taken;
  for (size_t i = 0; i < view.tensors.size(); ++i) {
    const file::Tensor& tensor = view.tensors[i];
    const bool in_arena = tensor.place == static_cast<uint8_t>(file::Place::kArena);
    if (!in_arena || tensor.view_of != file::kNone || lives[i].first == file::kNone) continue;
    const auto begin = static_cast<int64_t>(tensor.offset);
    taken.push_back({begin, begin + static_cast<int64_t>(tensor.bytes), lives[i].last});
  }
  const auto earlier = [](const Taken& a, const Taken& b) { return a.begin < b.begin; };
  std::sort(taken.begin(), taken.end(), earlier);
  OutputPlaces places;
  places.arena_bytes = static_cast<int64_t>(view.plan->arena_bytes);
  for (size_t i = 0; i < view.outputs.size(); ++i) {
    const uint32_t id = view.outputs[i];
    const auto bytes = static_cast<int64_t>(view.tensors[id].bytes);
    int64_t at = RoundUp(places.arena_bytes, file::kAlignment);
    if (i < kMostSearches) {
      at = LowestGap(taken, lives[id].first, bytes);
      const Taken own = {at, at + bytes, file::kNone};  // to the end, and beyond
      taken.insert(std::upper_bound(taken.begin(), taken.end(), own, earlier), own);
    }
    places.offsets.push_back(at);
    places.arena_bytes = std::max(places.arena_bytes, at + bytes);
  }
  return places;
}

}  // namespace ds::engine
