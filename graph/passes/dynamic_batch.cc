#include "graph/passes/dynamic_batch.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/passes/derived.h"
#include "graph/schema/internal.h"
#include "graph/schema/known_ints.h"

namespace ds {
namespace {

absl::Status Lost(const Node& node, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(
      "node '", node.name, "' (", node.op, "): ", why,
      "; export the model with its batch as a named extent (dynamic_axes, dynamic_shapes)"));
}

// Whether `tensor` is the same at each index of `axis`.
bool RepeatsOneRow(const Tensor& tensor, int axis) {
  int64_t outer = 1, inner = 1;
  for (int i = 0; i < tensor.rank(); ++i) {
    if (i < axis) outer *= tensor.dim(i);
    if (i > axis) inner *= tensor.dim(i);
  }
  if (BitWidth(tensor.dtype()) < 8) return false;
  const auto row = static_cast<size_t>(ByteSize(tensor.dtype(), inner));
  const std::byte* at = tensor.data();
  for (int64_t i = 0; i < outer; ++i) {
    const std::byte* first = at;
    for (int64_t k = 0; k < tensor.dim(axis); ++k, at += row) {
      if (std::memcmp(first, at, row) != 0) return false;
    }
  }
  return true;
}

// Its index 0 of `axis`.
Tensor FirstRow(const Tensor& tensor, int axis) {
  Shape shape = tensor.shape();
  int64_t outer = 1;
  for (int i = 0; i < axis; ++i) outer *= tensor.dim(i);
  const auto stride = static_cast<size_t>(outer == 0 ? 0 : tensor.size_bytes() / outer);
  const size_t row = stride / static_cast<size_t>(tensor.dim(axis));
  shape[axis] = 1;
  Tensor first(tensor.dtype(), std::move(shape));
  for (int64_t i = 0; i < outer; ++i) {
    const auto index = static_cast<size_t>(i);
    std::memcpy(first.mutable_data() + index * row, tensor.data() + index * stride, row);
  }
  return first;
}

class BatchFollower {
 public:
  explicit BatchFollower(Graph& graph) : graph_(graph), depends_(DependOnInputs(graph)) {}

  absl::Status Run() {
    const Shape& first = *graph_.value(graph_.inputs()[0]).shape;
    batch_ = first[0];
    for (const Value& value : graph_.values()) fixed_.push_back(value.shape);
    FreeInputs();
    DS_RETURN_IF_ERROR(StartInference(graph_, known_));
    const std::vector<Node> nodes = graph_.nodes();
    for (Node node : nodes) {
      DS_RETURN_IF_ERROR(Adapt(node));
      DS_RETURN_IF_ERROR(Emit(std::move(node)));
    }
    graph_.mutable_nodes() = std::move(adapted_);
    DS_RETURN_IF_ERROR(CheckOutput());
    DS_RETURN_IF_ERROR(InferShapes(graph_));
    return CheckOtherBatch();
  }

 private:
  void FreeInputs() {
    for (const ValueId id : graph_.inputs()) {
      std::optional<Shape>& shape = graph_.mutable_value(id).shape;
      if (!shape || shape->empty() || shape->front() != batch_) continue;
      shape->front() = kDynamicDim;
      freed_.insert(id);
    }
  }

  absl::Status Emit(Node node) {
    DS_RETURN_IF_ERROR(InferNode(graph_, node, known_));
    adapted_.push_back(std::move(node));
    return absl::OkStatus();
  }

  const std::optional<Shape>& Fixed(ValueId id) const {
    static const std::optional<Shape> kNone;
    return static_cast<size_t>(id) < fixed_.size() ? fixed_[id] : kNone;
  }

  // Axes of `id` that had a number in the file and have none any more.
  std::vector<int> BatchAxes(ValueId id) const {
    std::vector<int> axes;
    const std::optional<Shape>& fixed = Fixed(id);
    const std::optional<Shape>& now = graph_.value(id).shape;
    if (!fixed || !now || fixed->size() != now->size()) return axes;
    for (size_t i = 0; i < now->size(); ++i) {
      if ((*now)[i] == kDynamicDim && (*fixed)[i] != kDynamicDim)
        axes.push_back(static_cast<int>(i));
    }
    return axes;
  }

  absl::Status Adapt(Node& node) {
    if (node.inputs.empty() || node.outputs.empty()) return absl::OkStatus();
    if (node.op == "Reshape") return AdaptReshape(node);
    if (node.op == "Expand") return AdaptExpand(node);
    if (node.op == "Concat") return AdaptConcat(node);
    if (node.op == "LSTM" || node.op == "GRU" || node.op == "RNN" ||
        node.op == "DynamicQuantizeLSTM") {
      return AdaptRecurrent(node);
    }
    return AdaptBroadcast(node);
  }

  // The numbers of an integer input that are known, or nothing.
  std::optional<std::vector<int64_t>> Numbers(ValueId id) const {
    const auto found = known_.find(id);
    if (found == known_.end()) return std::nullopt;
    const bool all = std::all_of(found->second.begin(), found->second.end(),
                                 [](int64_t x) { return x >= kFirstKnownInt; });
    return all ? std::optional(found->second) : std::nullopt;
  }

  ValueId AddInts(const Node& node, const std::vector<int64_t>& numbers) {
    const auto count = static_cast<int64_t>(numbers.size());
    return AddConstant(node, Tensor::From<int64_t>({count}, numbers));
  }

  ValueId AddConstant(const Node& node, Tensor tensor) {
    const ValueId id =
        graph_.AddInitializer(absl::StrCat(node.name, ".batch"), std::move(tensor), false);
    RememberConstant(id, *graph_.Constant(id), known_);
    depends_.resize(graph_.values().size(), false);
    return id;
  }

  absl::Status AdaptReshape(Node& node) {
    const std::vector<int> axes = BatchAxes(node.inputs[0]);
    const auto target = Numbers(node.inputs[1]);
    if (axes.size() == 1 && !target) return AdaptComputedTarget(node, static_cast<size_t>(axes[0]));
    const std::optional<Shape>& in = Fixed(node.inputs[0]);
    const std::optional<Shape>& out = Fixed(node.outputs[0]);
    if (axes.size() != 1 || !target || !out || out->size() != target->size())
      return absl::OkStatus();
    const bool counted = std::count(in->begin(), in->end(), kDynamicDim) == 0 &&
                         std::count(out->begin(), out->end(), kDynamicDim) == 0;
    const auto axis = static_cast<size_t>(axes[0]);
    std::vector<int64_t> changed = *target;
    if (!counted) {  // another extent is unknown too, and has the -1
      if (axis < changed.size() && changed[axis] == batch_) changed[axis] = 0;
    } else {
      DS_ASSIGN_OR_RETURN(const size_t place, PlaceOfBatch(node, *in, axis, *out));
      const bool follows =
          changed[place] == -1 || (changed[place] == 0 && place == axis && !AllowsZero(node));
      if (follows) return absl::OkStatus();
      changed = *out;
      changed[place] = -1;
    }
    if (changed != *target) node.inputs[1] = AddInts(node, changed);
    return absl::OkStatus();
  }

  // Of a target that is computed, since another extent is unknown in the file too, the batch may be
  // a number: where it stands at its own axis, times 0 makes it the extent that comes.
  absl::Status AdaptComputedTarget(Node& node, size_t axis) {
    const auto found = known_.find(node.inputs[1]);
    if (found == known_.end() || axis >= found->second.size()) return absl::OkStatus();
    if (found->second[axis] != batch_) return absl::OkStatus();
    if (AllowsZero(node)) return Lost(node, "its batch is a number, and allowzero keeps it one");
    std::vector<int64_t> mask(found->second.size(), 1);
    mask[axis] = 0;
    const ValueId out = graph_.AddValue(absl::StrCat(node.name, ".batch.Mul"));
    depends_.resize(graph_.values().size(), true);
    DS_RETURN_IF_ERROR(Emit({.name = graph_.value(out).name,
                             .op = "Mul",
                             .inputs = {node.inputs[1], AddInts(node, mask)},
                             .outputs = {out}}));
    node.inputs[1] = out;
    return absl::OkStatus();
  }

  static bool AllowsZero(const Node& node) { return node.GetInt("allowzero", 0) != 0; }

  // The axis of `out` that holds what axis `axis` of `in` held: elements keep their order, so it is
  // one with as many elements in front of it, or one that those have been drawn into.
  absl::StatusOr<size_t> PlaceOfBatch(const Node& node, const Shape& in, size_t axis,
                                      const Shape& out) const {
    int64_t ahead = 1;
    for (size_t i = 0; i < axis; ++i) ahead *= in[i];
    std::vector<size_t> places;
    int64_t before = 1;
    for (size_t j = 0; j < out.size(); ++j) {
      const int64_t after = before * out[j];
      const bool holds = before <= ahead && after >= ahead * batch_ && out[j] % batch_ == 0;
      // Of a batch of 1, also an extent of 1 that stands where it stood.
      if (holds && (places.empty() || batch_ == 1)) places.push_back(j);
      before = after;
    }
    if (places.empty()) return Lost(node, "the batch is not one of the extents it makes");
    if (batch_ > 1) return places[0];
    const auto ones = [](const Shape& shape) { return std::count(shape.begin(), shape.end(), 1); };
    const bool moved = out[places[0]] != 1 && ones(out) >= ones(in);
    if (axis == 0 && !moved) return places[0];
    for (const size_t j : places) {
      if (j == axis && out[j] == 1 && !moved) return j;
    }
    if (places.size() == 1 && !moved) return places[0];
    return Lost(node, "with a batch of 1 in the file it cannot be told which extent holds it");
  }

  // A 1 keeps what comes.
  absl::Status AdaptExpand(Node& node) {
    if (!depends_[node.inputs[0]]) return absl::OkStatus();
    const auto target = Numbers(node.inputs[1]);
    const std::optional<Shape>& now = graph_.value(node.inputs[0]).shape;
    if (!target || !now || target->size() < now->size()) return absl::OkStatus();
    std::vector<int64_t> changed = *target;
    for (const int axis : BatchAxes(node.inputs[0])) {
      changed[changed.size() - now->size() + static_cast<size_t>(axis)] = 1;
    }
    if (changed != *target) node.inputs[1] = AddInts(node, changed);
    return absl::OkStatus();
  }

  // `id`, which follows from initialisers alone, with extent 1 on `axis`, where it has one row for
  // each sample of the file's batch.
  absl::StatusOr<ValueId> OneRow(const Node& node, ValueId id, int axis) {
    if (batch_ == 1) return id;
    for (const Node& made : adapted_) {
      if (made.op != "Expand" || made.outputs[0] != id) continue;
      const Shape& from = *graph_.value(made.inputs[0]).shape;
      const Shape& to = *graph_.value(id).shape;
      const int own = axis - static_cast<int>(to.size() - from.size());
      if (own < 0 || from[static_cast<size_t>(own)] == 1) return made.inputs[0];
    }
    const Tensor* tensor = graph_.Constant(id);
    if (tensor == nullptr || !RepeatsOneRow(*tensor, axis)) {
      return Lost(node, absl::StrCat("constant '", graph_.value(id).name,
                                     "' has a row of its own for each of ", batch_, " samples"));
    }
    return AddConstant(node, FirstRow(*tensor, axis));
  }

  absl::Status AdaptConcat(Node& node) {
    ValueId live = kNoValue;
    int axis = -1;
    for (const ValueId id : node.inputs) {
      const std::vector<int> axes = BatchAxes(id);
      if (live == kNoValue && axes.size() == 1) {
        live = id;
        axis = axes[0];
      }
    }
    if (live == kNoValue) return absl::OkStatus();
    const auto rank = static_cast<int64_t>(graph_.value(live).shape->size());
    const int64_t joined = node.GetInt("axis", 0);
    if ((joined < 0 ? joined + rank : joined) == axis) return absl::OkStatus();
    for (ValueId& id : node.inputs) {
      const std::optional<Shape>& shape = graph_.value(id).shape;
      const bool rows = !depends_[id] && shape && static_cast<int64_t>(shape->size()) == rank &&
                        (*shape)[static_cast<size_t>(axis)] == batch_;
      if (!rows) continue;
      DS_ASSIGN_OR_RETURN(const ValueId row, OneRow(node, id, axis));
      DS_ASSIGN_OR_RETURN(id, ForEachSample(node, row, live, axis));
    }
    return absl::OkStatus();
  }

  // `row` repeated along `axis` as often as `live` has samples there.
  absl::StatusOr<ValueId> ForEachSample(const Node& node, ValueId row, ValueId live, int axis) {
    const auto rank = static_cast<int64_t>(graph_.value(live).shape->size());
    const auto emit = [&](const char* op, std::vector<ValueId> inputs,
                          Attributes attributes) -> absl::StatusOr<ValueId> {
      const ValueId out = graph_.AddValue(absl::StrCat(node.name, ".batch.", op));
      depends_.resize(graph_.values().size(), true);
      DS_RETURN_IF_ERROR(Emit({.name = graph_.value(out).name,
                               .op = op,
                               .inputs = std::move(inputs),
                               .outputs = {out},
                               .attributes = std::move(attributes)}));
      return out;
    };
    DS_ASSIGN_OR_RETURN(
        const ValueId samples,
        emit("Shape", {live}, {{"start", int64_t{axis}}, {"end", int64_t{axis} + 1}}));
    std::vector<ValueId> parts;
    if (axis > 0) parts.push_back(AddInts(node, std::vector<int64_t>(axis, 1)));
    parts.push_back(samples);
    if (axis + 1 < rank) parts.push_back(AddInts(node, std::vector<int64_t>(rank - axis - 1, 1)));
    ValueId target = samples;
    if (parts.size() > 1) {
      DS_ASSIGN_OR_RETURN(target, emit("Concat", parts, {{"axis", int64_t{0}}}));
    }
    return emit("Expand", {row, target}, {});
  }

  // A state that starts as zeros is what an absent one is.
  absl::Status AdaptRecurrent(Node& node) {
    constexpr size_t kFirstState = 5, kEnd = 7;
    for (size_t slot = kFirstState; slot < std::min(kEnd, node.inputs.size()); ++slot) {
      const Tensor* state =
          node.inputs[slot] == kNoValue ? nullptr : graph_.Constant(node.inputs[slot]);
      if (state == nullptr) continue;
      const absl::Span<const std::byte> bytes = state->bytes();
      if (!std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; }))
        return Lost(node, "its initial state is a constant that is not zero");
      node.inputs[slot] = kNoValue;
    }
    while (node.inputs.back() == kNoValue) node.inputs.pop_back();
    return absl::OkStatus();
  }

  absl::Status AdaptBroadcast(Node& node) {
    static constexpr const char* kBroadcasting[] = {"Add", "Sub", "Mul",   "Div",  "Pow",
                                                    "Max", "Min", "Where", "Equal"};
    const bool broadcasts = std::find(std::begin(kBroadcasting), std::end(kBroadcasting),
                                      node.op) != std::end(kBroadcasting);
    if (!broadcasts || batch_ == 1) return absl::OkStatus();
    for (const ValueId live : node.inputs) {
      for (const int axis : BatchAxes(live)) {
        const int behind = static_cast<int>(graph_.value(live).shape->size()) - axis;
        for (ValueId& id : node.inputs) {
          const std::optional<Shape>& shape = graph_.value(id).shape;
          const int own = shape ? static_cast<int>(shape->size()) - behind : -1;
          if (depends_[id] || own < 0 || (*shape)[static_cast<size_t>(own)] != batch_) continue;
          DS_ASSIGN_OR_RETURN(id, OneRow(node, id, own));
        }
      }
    }
    return absl::OkStatus();
  }

  absl::Status CheckOutput() const {
    if (graph_.outputs().empty()) return absl::OkStatus();
    const ValueId id = graph_.outputs()[0];
    const std::optional<Shape>& fixed = Fixed(id);
    const std::optional<Shape>& now = graph_.value(id).shape;
    const bool had = fixed && !fixed->empty() && (*fixed)[0] == batch_;
    if (!had || !now || now->empty() || (*now)[0] == kDynamicDim) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "output '", graph_.value(id).name, "' has ", (*now)[0],
        " rows whatever the batch is; export the model with its batch as a named extent"));
  }

  absl::Status InferWith(int64_t batch, int64_t other) const {
    Graph graph = graph_;
    for (const ValueId id : graph.inputs()) {
      std::optional<Shape>& shape = graph.mutable_value(id).shape;
      if (!shape) continue;
      for (size_t i = 0; i < shape->size(); ++i) {
        if ((*shape)[i] == kDynamicDim) (*shape)[i] = i == 0 && freed_.contains(id) ? batch : other;
      }
    }
    return InferShapes(graph);
  }

  // Where extents are unknown in the file too, a number that came of its batch can hide in them (T
  // x 1 is T): shapes that fit the file's batch have to fit another one.
  absl::Status CheckOtherBatch() const {
    constexpr int64_t kTried[] = {64, 160, 224, 33, 8};
    for (const int64_t other : kTried) {
      if (!InferWith(batch_, other).ok()) continue;
      const absl::Status status = InferWith(batch_ + 2, other);
      if (status.ok()) return status;
      return absl::InvalidArgumentError(
          absl::StrCat("the model fits batches of ", batch_, " only: ", status.message(),
                       "; export the model with its batch as a named extent"));
    }
    return absl::OkStatus();
  }

  Graph& graph_;
  std::vector<bool> depends_;
  std::set<ValueId> freed_;  // inputs
  int64_t batch_ = 0;
  std::vector<std::optional<Shape>> fixed_;  // with the file's batch
  KnownInts known_;
  std::vector<Node> adapted_;
};

}  // namespace

absl::Status MakeBatchDynamic(Graph& graph) {
  if (graph.inputs().empty()) return absl::InvalidArgumentError("the model has no input");
  const std::optional<Shape>& shape = graph.value(graph.inputs()[0]).shape;
  if (!shape || shape->empty() || shape->front() == kDynamicDim) return absl::OkStatus();
  if (shape->front() <= 0) return absl::InvalidArgumentError("the model's batch is 0");
  DS_RETURN_IF_ERROR(InferShapes(graph));
  return BatchFollower(graph).Run();
}

}  // namespace ds
