#include <algorithm>
#include <cstddef>

#include "deploy/engine/compile/plan/placing.h"

namespace ds::engine::compile {
namespace {

constexpr int64_t kBudget = 30'000'000;  // steps looked at: about a tenth of a second

// Every plan can be pressed down until each buffer lies on the ground or on one that it meets.
// Taken from the lowest offset to the highest, each then lies on what has been placed at its steps,
// and above it at each step all that are not placed yet find room: plans are made in that order,
// and given up where some step's sum reaches what is known.
class Searcher {
 public:
  Searcher(const std::vector<PlanBuffer>& buffers, ArenaPlan& best)
      : buffers_(buffers), best_(best), offsets_(buffers.size(), -1) {
    int steps = 0;
    for (const PlanBuffer& buffer : buffers) steps = std::max(steps, buffer.last + 1);
    top_.assign(static_cast<size_t>(steps), 0);
    left_.assign(static_cast<size_t>(steps), 0);
    for (const PlanBuffer& buffer : buffers) {
      for (int step = buffer.first; step <= buffer.last; ++step) left_[step] += buffer.bytes;
    }
  }

  void Run() {
    Extend(0, 0, -1);
    if (budget_ > 0) best_.least = true;
  }

 private:
  struct Choice {
    int64_t offset;
    int buffer;
  };

  bool Done() const { return budget_ <= 0 || best_.bytes == best_.bound; }

  // Whether what is not placed still fits below what is known, none of it below `offset`.
  bool Fits(int64_t offset) {
    budget_ -= static_cast<int64_t>(top_.size());
    for (size_t step = 0; step < top_.size(); ++step) {
      if (left_[step] > 0 && std::max(top_[step], offset) + left_[step] >= best_.bytes)
        return false;
    }
    return true;
  }

  std::vector<Choice> Choices(int64_t offset, int last) {
    std::vector<Choice> choices;
    for (int i = 0; i < static_cast<int>(buffers_.size()); ++i) {
      if (offsets_[i] >= 0) continue;
      const PlanBuffer& buffer = buffers_[i];
      const int64_t on =
          *std::max_element(top_.begin() + buffer.first, top_.begin() + buffer.last + 1);
      budget_ -= buffer.last - buffer.first + 1;
      if (on > offset || (on == offset && i > last)) choices.push_back({on, i});
    }
    std::sort(choices.begin(), choices.end(), [&](const Choice& a, const Choice& b) {
      const int64_t bytes_a = buffers_[a.buffer].bytes, bytes_b = buffers_[b.buffer].bytes;
      return a.offset != b.offset ? a.offset < b.offset : bytes_a > bytes_b;
    });
    return choices;
  }

  void Extend(size_t placed, int64_t offset, int last) {
    if (placed == buffers_.size()) {
      best_.bytes = *std::max_element(top_.begin(), top_.end());
      best_.offsets = offsets_;
      best_.way = "search";
      return;
    }
    for (const Choice& choice : Choices(offset, last)) {
      if (Done()) return;
      const PlanBuffer& buffer = buffers_[choice.buffer];
      const std::vector<int64_t> before(top_.begin() + buffer.first,
                                        top_.begin() + buffer.last + 1);
      for (int step = buffer.first; step <= buffer.last; ++step) {
        top_[step] = choice.offset + buffer.bytes;
        left_[step] -= buffer.bytes;
      }
      offsets_[choice.buffer] = choice.offset;
      if (choice.offset + buffer.bytes < best_.bytes && Fits(choice.offset))
        Extend(placed + 1, choice.offset, choice.buffer);
      offsets_[choice.buffer] = -1;
      std::copy(before.begin(), before.end(), top_.begin() + buffer.first);
      for (int step = buffer.first; step <= buffer.last; ++step) left_[step] += buffer.bytes;
    }
  }

  const std::vector<PlanBuffer>& buffers_;
  ArenaPlan& best_;
  std::vector<int64_t> offsets_;
  std::vector<int64_t> top_;   // a step: where what is placed ends
  std::vector<int64_t> left_;  // a step: bytes of what is not placed yet
  int64_t budget_ = kBudget;
};

}  // namespace

void Search(const std::vector<PlanBuffer>& buffers, ArenaPlan& plan) {
  Searcher(buffers, plan).Run();
}

}  // namespace ds::engine::compile
