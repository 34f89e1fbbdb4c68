#include "deploy/engine/runtime/check/plan.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "deploy/engine/runtime/kernels/args.h"
#include "deploy/engine/runtime/parameters.h"

namespace ds::engine {
namespace {

constexpr uint32_t kNever = file::kNone;

struct Life {
  uint32_t first = kNever, last = 0;  // operators
};

bool In(const file::Tensor& tensor, file::Place place) {
  return tensor.place == static_cast<uint8_t>(place);
}

class PlanCheck {
 public:
  explicit PlanCheck(const FileView& view) : view_(view), lives_(view.tensors.size()) {}

  Status Run() {
    DS_ENGINE_RETURN_IF_ERROR(FindLives());
    DS_ENGINE_RETURN_IF_ERROR(CheckOutputs());
    DS_ENGINE_RETURN_IF_ERROR(CheckSize());
    return CheckArena();
  }

 private:
  uint32_t Root(uint32_t id) const {
    const uint32_t base = view_.tensors[id].view_of;
    return base == file::kNone ? id : base;
  }
  std::string Where(uint32_t op) const {
    return "operator " + std::to_string(op) + " ('" + std::string(view_.Name(view_.operators[op])) +
           "')";
  }

  Status FindLives() {
    for (uint32_t i = 0; i < view_.operators.size(); ++i) {
      const file::Operator& op = view_.operators[i];
      for (const uint32_t id : view_.Inputs(op)) {
        const file::Tensor& tensor = view_.tensors[id];
        if (In(tensor, file::Place::kInput) || In(tensor, file::Place::kConstant)) continue;
        Life& life = lives_[Root(id)];
        if (life.first == kNever) {
          return Status::Error(Where(i) + " reads tensor " + std::to_string(id) +
                               ", which none before it writes");
        }
        life.last = i;
      }
      for (const uint32_t id : view_.Outputs(op)) {
        const file::Tensor& tensor = view_.tensors[id];
        if (!In(tensor, file::Place::kArena) && !In(tensor, file::Place::kOutput)) {
          return Status::Error(Where(i) + " writes into an input or a constant");
        }
        Life& life = lives_[Root(id)];
        if (life.first == kNever) life.first = i;
        life.last = i;
      }
    }
    return {};
  }

  Status CheckOutputs() const {
    for (size_t i = 0; i < view_.outputs.size(); ++i) {
      const uint32_t id = view_.outputs[i];
      if (lives_[id].first == kNever && view_.tensors[id].bytes > 0) {
        return Status::Error("no operator writes output " + std::to_string(i));
      }
    }
    return {};
  }

  // What no tensor needs is not asked of a device: no more than a buffer for each would take, nor
  // room behind the last.
  Status CheckSize() const {
    const uint64_t arena = view_.plan->arena_bytes;
    uint64_t end = 0, apart = 0;
    for (const file::Tensor& tensor : view_.tensors) {
      if (!In(tensor, file::Place::kArena)) continue;
      end = std::max(end, tensor.offset + tensor.bytes);
      if (tensor.view_of == file::kNone) apart += tensor.bytes + file::kAlignment;
    }
    if (arena <= end + file::kAlignment && arena <= apart) return {};
    return Status::Error("the arena has " + std::to_string(arena) + " bytes, its tensors end at " +
                         std::to_string(end) + " and have " + std::to_string(apart));
  }

  // Whether this operator may write `out` over `in`, which dies with it.
  bool InPlace(const file::Operator& op, uint32_t in, uint32_t out) const {
    const file::Tensor &a = view_.tensors[in], &b = view_.tensors[out];
    return WorksInPlace(static_cast<file::OperatorKind>(op.kind)) && out == view_.Outputs(op)[0] &&
           a.offset == b.offset && a.bytes == b.bytes && a.row_bytes == b.row_bytes &&
           CoversWhole(op, in);
  }
  // Whether each element of the input is read for the same place of the output alone: not so of a
  // second operand that is repeated.
  bool CoversWhole(const file::Operator& op, uint32_t in) const {
    const auto inputs = view_.Inputs(op);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (Root(inputs[i]) != Root(in)) continue;
      const file::Tensor& tensor = view_.tensors[inputs[i]];
      if (tensor.bytes != view_.tensors[in].bytes) return false;
    }
    return true;
  }

  // An operator that reads and writes one buffer uses places of it that do not meet.
  Status CheckOwnBuffer(uint32_t i) const {
    const file::Operator& op = view_.operators[i];
    for (const uint32_t out : view_.Outputs(op)) {
      for (const uint32_t in : view_.Inputs(op)) {
        if (Root(in) != Root(out)) continue;
        const file::Tensor &a = view_.tensors[in], &b = view_.tensors[out];
        const auto row = [](const file::Tensor& t) {
          return static_cast<uint64_t>(ElementBytes(t.type)) *
                 (t.rank == 0 ? 1 : t.dims[t.rank - 1]);
        };
        const bool slices = a.row_bytes == b.row_bytes && a.rank == b.rank;
        const bool apart =
            slices && (a.offset + row(a) <= b.offset || b.offset + row(b) <= a.offset);
        const bool same = WorksInPlace(static_cast<file::OperatorKind>(op.kind)) &&
                          out == view_.Outputs(op)[0] && a.offset == b.offset &&
                          a.bytes == b.bytes && a.row_bytes == b.row_bytes;
        if (!apart && !same) return Status::Error(Where(i) + " writes over what it reads");
      }
    }
    return {};
  }

  Status CheckArena() {
    std::vector<std::vector<uint32_t>> born(view_.operators.size()), dying(born.size());
    for (uint32_t id = 0; id < lives_.size(); ++id) {
      if (lives_[id].first == kNever || !In(view_.tensors[id], file::Place::kArena)) continue;
      born[lives_[id].first].push_back(id);
      dying[lives_[id].last].push_back(id);
    }
    for (uint32_t i = 0; i < view_.operators.size(); ++i) {
      DS_ENGINE_RETURN_IF_ERROR(CheckOwnBuffer(i));
      // Those that this operator may write over leave first.
      for (const uint32_t out : born[i]) {
        const auto at = live_.find(view_.tensors[out].offset);
        if (at != live_.end() && lives_[at->second].last == i &&
            InPlace(view_.operators[i], at->second, out)) {
          live_.erase(at);
        }
        DS_ENGINE_RETURN_IF_ERROR(Enter(i, out));
      }
      for (const uint32_t id : dying[i]) Leave(id);
    }
    return {};
  }

  Status Enter(uint32_t i, uint32_t id) {
    const file::Tensor& tensor = view_.tensors[id];
    const auto after = live_.lower_bound(tensor.offset);
    const bool meets_after = after != live_.end() && after->first < tensor.offset + tensor.bytes;
    bool meets_before = false;
    if (after != live_.begin()) {
      const auto before = std::prev(after);
      meets_before = before->first + view_.tensors[before->second].bytes > tensor.offset;
    }
    if (meets_after || meets_before) {
      return Status::Error(Where(i) + " writes tensor " + std::to_string(id) +
                           " over one that is still needed");
    }
    live_.emplace(tensor.offset, id);
    return {};
  }
  void Leave(uint32_t id) {
    const auto at = live_.find(view_.tensors[id].offset);
    if (at != live_.end() && at->second == id) live_.erase(at);
  }

  const FileView& view_;
  std::vector<Life> lives_;            // of roots
  std::map<uint64_t, uint32_t> live_;  // offset -> root; none meet
};

}  // namespace

bool WorksInPlace(file::OperatorKind kind) {
  using file::OperatorKind;
  switch (kind) {
    case OperatorKind::kAdd8:
    case OperatorKind::kMultiply8:
    case OperatorKind::kLookup8:
    case OperatorKind::kBinaryF32:
    case OperatorKind::kActivateF32:
    case OperatorKind::kSoftmaxF32:
    case OperatorKind::kLayerNormF32:
    case OperatorKind::kLayerNorm8:
    case OperatorKind::kUnary:
    case OperatorKind::kSqueezeExcite8:  // what it makes first, of what it reads
      return true;
    default:
      return false;
  }
}

Status CheckPlan(const FileView& view) { return PlanCheck(view).Run(); }

}  // namespace ds::engine
