#include "deploy/engine/compile/lower/join_moves.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <vector>

namespace ds::engine::compile {
namespace {

using file::MoveParameters;
using file::OperatorKind;

constexpr size_t kDims = std::size(MoveParameters{}.dims);

// Of a walk: how many there are, and how far from one to the next.
struct Axis {
  int64_t extent, stride;
};

// An axis of what the first move writes: where it lies there, and where in what that move reads.
struct Written {
  int64_t extent, place, stride;
  int64_t last;  // the greatest index that is read
};

// The second move's places as the first one's: each of its axes must stay within axes of what lies
// between, so that no index carries into the next.
class Composition {
 public:
  explicit Composition(const MoveParameters& first) : start_(first.start) {
    int64_t place = 1;
    for (size_t i = kDims; i-- > 0;) {
      if (first.dims[i] > 1) written_.push_back({first.dims[i], place, first.strides[i], 0});
      place *= first.dims[i];
    }
  }

  std::optional<MoveParameters> Behind(const MoveParameters& second) {
    for (Written& axis : written_) {
      axis.last = second.start / axis.place % axis.extent;
      start_ += axis.last * axis.stride;
    }
    for (size_t i = 0; i < kDims; ++i) {
      if (second.dims[i] > 1 && !Add({second.dims[i], second.strides[i]})) return std::nullopt;
    }
    const bool carries = std::any_of(written_.begin(), written_.end(),
                                     [](const Written& w) { return w.last >= w.extent; });
    return carries || axes_.size() > kDims ? std::nullopt : std::optional(Parameters());
  }

 private:
  bool Add(Axis axis) {
    if (axis.stride == 0) return Append(axis);
    const auto found = std::find_if(written_.rbegin(), written_.rend(),
                                    [&](const Written& w) { return w.place <= axis.stride; });
    if (axis.stride < 0 || found == written_.rend() || axis.stride % found->place != 0)
      return false;
    const int64_t step = axis.stride / found->place, fits = found->extent / step;
    if (axis.extent > fits) {
      // Several axes that lay as one.
      if (found->extent % step != 0 || axis.extent % fits != 0) return false;
      if (!Add({axis.extent / fits, axis.stride * fits})) return false;
      axis.extent = fits;
    }
    found->last += step * (axis.extent - 1);
    return Append({axis.extent, step * found->stride});
  }
  bool Append(Axis axis) {
    if (!axes_.empty() && axes_.back().stride == axis.stride * axis.extent) {
      axes_.back() = {axes_.back().extent * axis.extent, axis.stride};
    } else {
      axes_.push_back(axis);
    }
    return true;
  }
  MoveParameters Parameters() const {
    MoveParameters result{{1, 1, 1, 1, 1, 1}, {}, static_cast<uint32_t>(start_)};
    for (size_t i = 0; i < axes_.size(); ++i) {
      const size_t at = kDims - axes_.size() + i;
      result.dims[at] = static_cast<uint32_t>(axes_[i].extent);
      result.strides[at] = static_cast<int32_t>(axes_[i].stride);
    }
    return result;
  }

  int64_t start_;
  std::vector<Written> written_;  // the densest first
  std::vector<Axis> axes_;
};

bool KeepsOrder(const MoveParameters& move) {
  int64_t place = 1;
  for (size_t i = kDims; i-- > 0;) {
    if (move.dims[i] > 1 && move.strides[i] != place) return false;
    place *= move.dims[i];
  }
  return move.start == 0;
}

int64_t ElementsOf(const Program& program, int tensor) {
  return Elements(program.tensors[tensor].dims);
}

// In the arena, and whole wherever it is read.
bool IsPlain(const Program& program, int tensor) {
  const ProgramTensor& made = program.tensors[tensor];
  return made.place == file::Place::kArena && made.view_of < 0 &&
         std::none_of(program.tensors.begin(), program.tensors.end(),
                      [&](const ProgramTensor& t) { return t.view_of == tensor && t.first >= 0; });
}

// Lets the moves that read what `first` writes read what it reads, if nothing else reads that.
void JoinReaders(Program& program, const Step& first) {
  const int between = first.outputs[0], source = first.inputs[0];
  // What the source takes longer must not be more than what is saved.
  if (!IsPlain(program, between) || ElementsOf(program, between) < ElementsOf(program, source))
    return;
  std::vector<std::pair<Step*, MoveParameters>> joined;
  for (Step& step : program.steps) {
    const bool reads = std::any_of(step.inputs.begin(), step.inputs.end(),
                                   [&](int id) { return RootOf(program, id) == between; });
    if (!reads) continue;
    if (step.kind != OperatorKind::kMove) return;
    Composition composition(std::get<MoveParameters>(first.parameters));
    const auto both = composition.Behind(std::get<MoveParameters>(step.parameters));
    if (!both) return;
    joined.emplace_back(&step, *both);
  }
  for (auto& [step, both] : joined) {
    step->inputs = {source};
    step->parameters = both;
  }
}

// The result of a move that leaves everything where it is has the bytes of what it reads.
void MakeView(Program& program, Step& step) {
  const int result = step.outputs[0], root = RootOf(program, step.inputs[0]);
  const bool whole = program.tensors[step.inputs[0]].first < 0 &&
                     ElementsOf(program, root) == ElementsOf(program, result) &&
                     KeepsOrder(std::get<MoveParameters>(step.parameters));
  if (!whole || !IsPlain(program, result)) return;
  for (ProgramTensor& tensor : program.tensors) {
    if (&tensor != &program.tensors[result] && tensor.view_of != result) continue;
    tensor.view_of = root;
    tensor.place = program.tensors[root].place;
    tensor.number = program.tensors[root].number;
  }
  step.outputs.clear();
}

}  // namespace

void JoinMoves(Program& program) {
  for (size_t i = 0; i < program.steps.size(); ++i) {
    if (program.steps[i].kind != OperatorKind::kMove) continue;
    JoinReaders(program, program.steps[i]);
  }
  DropUnread(program);
  for (Step& step : program.steps) {
    if (step.kind == OperatorKind::kMove) MakeView(program, step);
  }
  DropUnread(program);
}

}  // namespace ds::engine::compile
