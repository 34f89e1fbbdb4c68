#include "deploy/engine/compile/plan/order.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "deploy/engine/runtime/check/plan.h"

namespace ds::engine::compile {
namespace {

constexpr size_t kKept = 128;  // sets of each size

// What a step needs and leaves, by numbers of steps and of buffers: the tensors that are no views.
struct Node {
  std::vector<int> before;   // steps that must have run
  std::vector<int> buffers;  // that it reads or writes
};

class Dependences {
 public:
  explicit Dependences(const Program& program) : nodes(program.steps.size()) {
    const size_t count = program.tensors.size();
    bytes.assign(count, 0);
    users.resize(count);
    std::vector<std::vector<int>> writers(count), readers(count);
    for (size_t i = 0; i < program.steps.size(); ++i) {
      const Step& step = program.steps[i];
      Node& node = nodes[i];
      const auto use = [&](int id, const std::vector<int>& others) {
        node.before.insert(node.before.end(), others.begin(), others.end());
        node.buffers.push_back(id);
      };
      for (const int id : step.inputs) use(RootOf(program, id), writers[RootOf(program, id)]);
      // Slices of one tensor are written by several: what reads one of them stays before the next.
      for (const int id : step.outputs) use(RootOf(program, id), readers[RootOf(program, id)]);
      for (const int id : step.inputs) readers[RootOf(program, id)].push_back(static_cast<int>(i));
      for (const int id : step.outputs) writers[RootOf(program, id)].push_back(static_cast<int>(i));
      for (auto* list : {&node.before, &node.buffers}) {
        std::sort(list->begin(), list->end());
        list->erase(std::unique(list->begin(), list->end()), list->end());
      }
      std::erase(node.before, static_cast<int>(i));
      for (const int id : node.buffers) users[id].push_back(static_cast<int>(i));
    }
    for (size_t id = 0; id < count; ++id) {
      const ProgramTensor& tensor = program.tensors[id];
      if (tensor.place == file::Place::kArena && tensor.view_of < 0)
        bytes[id] = Elements(tensor.dims) * BytesOf(tensor.type);
    }
  }

  std::vector<Node> nodes;
  std::vector<int64_t> bytes;           // of a buffer; 0: not in the arena
  std::vector<std::vector<int>> users;  // of a buffer: steps
};

// A set of steps that have run, and the best way to it.
struct State {
  std::vector<bool> ran;
  int64_t live = 0, most = 0;
  int64_t moved = 0;  // how far steps are from where they were, in all
  std::shared_ptr<const State> from;
  int step = -1;  // the last one
};

class OrderSearch {
 public:
  explicit OrderSearch(const Program& program) : program_(program), needs_(program) {}

  std::vector<int> Run() {
    // First what can be reached, then the least change that reaches it: lives that cross each other
    // less are planned better.
    enough_ = Best()->most;
    const auto best = Best();
    std::vector<int> order;
    for (const State* state = best.get(); state->step >= 0; state = state->from.get())
      order.push_back(state->step);
    std::reverse(order.begin(), order.end());
    return order;
  }

 private:
  std::shared_ptr<const State> Best() const {
    const size_t count = program_.steps.size();
    std::vector<std::shared_ptr<const State>> kept = {
        std::make_shared<State>(State{std::vector<bool>(count), 0, 0, 0, nullptr, -1})};
    for (size_t size = 0; size < count; ++size) kept = Further(kept, static_cast<int64_t>(size));
    return kept.front();
  }

  // What decides between two states: the most that was live, so far as it counts, then the change
  // once a goal is known, then what is live now.
  std::tuple<int64_t, int64_t, int64_t> Rank(const State& state) const {
    return {std::max(state.most, enough_), enough_ > 0 ? state.moved : 0, state.live};
  }

  // The sets with one step more than `size`, the best first.
  std::vector<std::shared_ptr<const State>> Further(
      const std::vector<std::shared_ptr<const State>>& kept, int64_t size) const {
    std::map<std::vector<bool>, std::shared_ptr<State>> sets;
    for (const auto& state : kept) {
      for (size_t i = 0; i < needs_.nodes.size(); ++i) {
        const auto& before = needs_.nodes[i].before;
        const auto ran = [&](int step) { return state->ran[step]; };
        if (state->ran[i] || !std::all_of(before.begin(), before.end(), ran)) continue;
        auto next = std::make_shared<State>(After(state, static_cast<int>(i)));
        next->moved += std::abs(static_cast<int64_t>(i) - size);
        auto& known = sets[next->ran];
        if (known == nullptr || Rank(*next) < Rank(*known)) known = std::move(next);
      }
    }
    std::vector<std::shared_ptr<const State>> best;
    for (auto& [ran, state] : sets) best.push_back(std::move(state));
    std::stable_sort(best.begin(), best.end(),
                     [&](const auto& a, const auto& b) { return Rank(*a) < Rank(*b); });
    if (best.size() > kKept) best.resize(kKept);
    return best;
  }

  State After(const std::shared_ptr<const State>& state, int step) const {
    State next{state->ran, state->live, state->most, state->moved, state, step};
    next.ran[step] = true;
    int64_t dying = 0, below = 0;
    for (const int buffer : needs_.nodes[step].buffers) {
      const int64_t bytes = needs_.bytes[buffer];
      const auto& users = needs_.users[buffer];
      const auto other = [&](int user) { return user != step && state->ran[user]; };
      if (std::none_of(users.begin(), users.end(), other)) next.live += bytes;
      if (std::all_of(users.begin(), users.end(), [&](int user) { return next.ran[user]; })) {
        dying += bytes;
        if (MayLieOn(step, buffer)) below = bytes;
      }
    }
    next.most = std::max(next.most, next.live - below);
    next.live -= dying;
    return next;
  }

  // About as the planner has it: the result takes no room of its own.
  bool MayLieOn(int step, int buffer) const {
    const Step& what = program_.steps[step];
    const ProgramTensor& result = program_.tensors[what.outputs[0]];
    return WorksInPlace(what.kind) && result.place == file::Place::kArena && result.view_of < 0 &&
           buffer != what.outputs[0] && program_.tensors[buffer].dims == result.dims &&
           program_.tensors[buffer].type == result.type;
  }

  const Program& program_;
  const Dependences needs_;
  int64_t enough_ = 0;  // the most that may be live; 0: not known yet
};

}  // namespace

std::vector<int> LeanOrder(const Program& program) { return OrderSearch(program).Run(); }

}  // namespace ds::engine::compile
