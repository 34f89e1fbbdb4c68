// What only arranges elements: views where the bytes stay, moves where they do not.
#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "deploy/engine/compile/lower/lowering.h"

namespace ds::engine::compile {
namespace {

using file::OperatorKind;

// Dims of one element left out, neighbours that lie as one joined.
Strided Joined(const Strided& from) {
  Strided result{from.tensor, from.start, {}, {}};
  for (size_t i = 0; i < from.dims.size(); ++i) {
    if (from.dims[i] == 1) continue;
    if (!result.dims.empty() && result.strides.back() == from.strides[i] * from.dims[i]) {
      result.dims.back() *= from.dims[i];
      result.strides.back() = from.strides[i];
    } else {
      result.dims.push_back(from.dims[i]);
      result.strides.push_back(from.strides[i]);
    }
  }
  return result;
}

// Of [N, C, H, W] as [N, H, W, C].
Strided ImageOrder(const Strided& from) {
  const auto turn = [](const Dims& d) { return Dims{d[0], d[2], d[3], d[1]}; };
  return {from.tensor, from.start, turn(from.dims), turn(from.strides)};
}

// All elements of a tensor in their order.
bool IsWhole(const Strided& from, int64_t elements) {
  const Strided joined = Joined(from);
  return from.start == 0 && Elements(from.dims) == elements &&
         (joined.dims.empty() || (joined.dims.size() == 1 && joined.strides[0] == 1));
}

std::vector<std::byte> Gather(const ProgramTensor& from, const Strided& at) {
  const int64_t size = BytesOf(from.type);
  std::vector<std::byte> result(static_cast<size_t>(Elements(at.dims) * size));
  for (int64_t i = 0; i < Elements(at.dims); ++i) {
    int64_t left = i, place = at.start;
    for (size_t axis = at.dims.size(); axis-- > 0;) {
      place += left % at.dims[axis] * at.strides[axis];
      left /= at.dims[axis];
    }
    std::memcpy(&result[static_cast<size_t>(i * size)],
                &from.data[static_cast<size_t>(place * size)], static_cast<size_t>(size));
  }
  return result;
}

}  // namespace

std::optional<std::vector<int64_t>> IntsOf(const Graph& graph, const Node& node, size_t input) {
  if (node.inputs.size() <= input || node.inputs[input] == kNoValue) return std::nullopt;
  const Tensor* constant = graph.Constant(node.inputs[input]);
  if (constant == nullptr) return std::nullopt;
  std::vector<int64_t> result;
  if (constant->dtype() == DType::kInt64) {
    result.assign(constant->span<int64_t>().begin(), constant->span<int64_t>().end());
  } else if (constant->dtype() == DType::kInt32) {
    result.assign(constant->span<int32_t>().begin(), constant->span<int32_t>().end());
  } else {
    return std::nullopt;
  }
  return result;
}

bool Lowering::IsReshape(const Node& node) const {
  for (const char* op : {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"}) {
    if (node.op == op) return true;
  }
  return node.op == "Clip" && std::all_of(node.inputs.begin() + 1, node.inputs.end(),
                                          [](ValueId id) { return id == kNoValue; });
}

bool Lowering::IsLayout(const Node& node) const {
  if (IsReshape(node)) return true;
  for (const char* op : {"Transpose", "Slice", "Split", "Expand", "Gather", "Pad"}) {
    if (node.op == op) return true;
  }
  return node.op == "Resize" && node.GetString("mode", "nearest") == "nearest";
}

// A constant's elements are turned now.
absl::StatusOr<int> Lowering::Move(const Strided& from, Dims dims, const std::string& name) {
  const ProgramTensor source = program_.tensors[from.tensor];
  const int result = AddTensor(name, source.type, std::move(dims), source.codes);
  if (source.place == file::Place::kConstant) {
    program_.tensors[result].place = file::Place::kConstant;
    program_.tensors[result].data = Gather(source, from);
    return result;
  }
  const Strided joined = Joined(from);
  if (joined.dims.size() > 6) {
    return absl::UnimplementedError(
        absl::StrCat("'", name, "' is arranged along more than six axes"));
  }
  file::MoveParameters parameters{{1, 1, 1, 1, 1, 1}, {}, static_cast<uint32_t>(joined.start)};
  const size_t front = 6 - joined.dims.size();
  for (size_t i = 0; i < joined.dims.size(); ++i) {
    parameters.dims[front + i] = static_cast<uint32_t>(joined.dims[i]);
    parameters.strides[front + i] = static_cast<int32_t>(joined.strides[i]);
  }
  program_.steps.push_back({.kind = OperatorKind::kMove,
                            .name = name,
                            .inputs = {from.tensor},
                            .outputs = {result},
                            .parameters = parameters});
  return result;
}

absl::StatusOr<int> Lowering::View(int tensor, Dims dims, const std::string& name) {
  DS_ASSIGN_OR_RETURN(const int dense, Dense(tensor));
  const ProgramTensor from = program_.tensors[dense];
  if (from.dims == dims) return dense;
  const int result = AddTensor(name, from.type, std::move(dims), from.codes);
  ProgramTensor& view = program_.tensors[result];
  view.place = from.place;
  view.number = from.number;
  if (from.place == file::Place::kConstant) {
    view.data = from.data;
  } else {
    view.view_of = RootOf(program_, dense);
  }
  return result;
}

// Where the tensor is a slice.
absl::StatusOr<int> Lowering::Dense(int tensor) {
  const ProgramTensor& slice = program_.tensors[tensor];
  if (slice.first < 0) return tensor;
  Strided at = StridesOf(Held{tensor});
  return Move(at, slice.dims, absl::StrCat(slice.name, ".dense"));
}

// In the base of a slice. The strides are by the value's axes.
Strided Lowering::StridesOf(Held held) const {
  const ProgramTensor& tensor = program_.tensors[held.tensor];
  const bool slice = tensor.first >= 0;
  Strided at{slice ? tensor.view_of : held.tensor, slice ? tensor.first : 0, tensor.dims,
             Dims(tensor.dims.size(), 1)};
  int64_t stride = slice ? program_.tensors[tensor.view_of].dims.back() : 0;
  for (size_t i = tensor.dims.size(); i-- > 0;) {
    if (i + 1 == tensor.dims.size()) {
      if (!slice) stride = tensor.dims[i];
    } else {
      at.strides[i] = stride;
      stride *= tensor.dims[i];
    }
  }
  if (!held.image) return at;
  const auto turn = [](const Dims& d) { return Dims{d[0], d[3], d[1], d[2]}; };
  return {at.tensor, at.start, turn(at.dims), turn(at.strides)};
}

absl::StatusOr<Held> Lowering::Take(const Strided& from, bool image, const std::string& name) {
  const int64_t elements = Elements(program_.tensors[from.tensor].dims);
  const bool four = from.dims.size() == 4;
  for (const bool as_image : {image, !image}) {
    if (as_image && !four) continue;
    const Strided ordered = as_image ? ImageOrder(from) : from;
    if (!IsWhole(ordered, elements)) continue;
    DS_ASSIGN_OR_RETURN(const int view, View(from.tensor, ordered.dims, name));
    return Held{view, as_image};
  }
  const bool as_image = image && four;
  const Strided ordered = as_image ? ImageOrder(from) : from;
  DS_ASSIGN_OR_RETURN(const int moved, Move(ordered, ordered.dims, name));
  return Held{moved, as_image};
}

absl::StatusOr<int> Lowering::AsImage(Held held) {
  if (held.image) return held.tensor;
  const auto [at, added] = turned_.try_emplace({held.tensor, true}, -1);
  if (!added) return at->second;
  const Strided ordered = ImageOrder(StridesOf(held));
  const std::string name = absl::StrCat(program_.tensors[held.tensor].name, ".nhwc");
  const int64_t elements = Elements(program_.tensors[ordered.tensor].dims);
  absl::StatusOr<int> result = IsWhole(ordered, elements) ? View(ordered.tensor, ordered.dims, name)
                                                          : Move(ordered, ordered.dims, name);
  if (result.ok()) turned_[{held.tensor, true}] = *result;
  return result;
}

absl::StatusOr<int> Lowering::AsPlain(Held held) {
  if (!held.image) return held.tensor;
  const auto [at, added] = turned_.try_emplace({held.tensor, false}, -1);
  if (!added) return at->second;
  const Strided all = StridesOf(held);
  const std::string name = absl::StrCat(program_.tensors[held.tensor].name, ".nchw");
  const int64_t elements = Elements(program_.tensors[all.tensor].dims);
  absl::StatusOr<int> result =
      IsWhole(all, elements) ? View(all.tensor, all.dims, name) : Move(all, all.dims, name);
  if (result.ok()) turned_[{held.tensor, false}] = *result;
  return result;
}

absl::StatusOr<Held> Lowering::Arrange(const Node& node, ValueId result, Held from) {
  const std::string& name = graph_.value(result).name;
  const Shape& shape = ShapeOf(result);
  if (IsReshape(node)) {
    if (ShapeOf(from) == shape) return from;
    DS_ASSIGN_OR_RETURN(const int plain, AsPlain(from));
    DS_ASSIGN_OR_RETURN(const int view, View(plain, Dims(shape.begin(), shape.end()), name));
    return Held{view};
  }
  if (node.op == "Expand") return Broadcast(from, shape, name);
  if (node.op == "Resize") return Enlarge(node, from);
  if (node.op == "Split") return Split(node, result, from);
  if (node.op == "Pad") return PadGeneral(node, from);
  const auto picked = node.op == "Gather" ? IntsOf(graph_, node, 1) : std::nullopt;
  if (node.op == "Gather" && (!picked || picked->size() != 1)) return TakeComputed(node, from);
  Strided at = StridesOf(from);
  if (node.op == "Slice") return Slice(node, from, std::move(at));
  if (node.op == "Gather") {
    int64_t axis = node.GetInt("axis", 0);
    axis += axis < 0 ? static_cast<int64_t>(at.dims.size()) : 0;
    int64_t index = IntsOf(graph_, node, 1)->front();
    index += index < 0 ? at.dims[axis] : 0;
    if (index < 0 || index >= at.dims[axis]) return Refuse(node, "its index is out of range");
    at.start += index * at.strides[axis];
    at.dims[axis] = 1;
    DS_ASSIGN_OR_RETURN(const Held row, Take(at, from.image, name));
    DS_ASSIGN_OR_RETURN(const int plain, AsPlain(row));
    DS_ASSIGN_OR_RETURN(const int view, View(plain, Dims(shape.begin(), shape.end()), name));
    return Held{view};
  }
  Dims order(at.dims.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(order.size() - 1 - i);
  order = node.GetInts("perm", order);
  Strided turned{at.tensor, at.start, {}, {}};
  for (const int64_t axis : order) {
    turned.dims.push_back(at.dims[axis]);
    turned.strides.push_back(at.strides[axis]);
  }
  return Take(turned, false, name);
}

absl::StatusOr<Held> Lowering::Slice(const Node& node, Held from, Strided at) {
  const auto starts = IntsOf(graph_, node, 1), ends = IntsOf(graph_, node, 2);
  auto axes = IntsOf(graph_, node, 3), steps = IntsOf(graph_, node, 4);
  if (!starts || !ends || (node.inputs.size() > 3 && node.inputs[3] != kNoValue && !axes) ||
      (node.inputs.size() > 4 && node.inputs[4] != kNoValue && !steps)) {
    return Refuse(node, "where it begins or ends is no constant");
  }
  const Shape& shape = ShapeOf(node.outputs[0]);
  for (size_t i = 0; i < starts->size(); ++i) {
    int64_t axis = axes ? (*axes)[i] : static_cast<int64_t>(i);
    axis += axis < 0 ? static_cast<int64_t>(at.dims.size()) : 0;
    const int64_t step = steps ? (*steps)[i] : 1, extent = at.dims[axis];
    int64_t start = (*starts)[i] < 0 ? (*starts)[i] + extent : (*starts)[i];
    start = std::clamp<int64_t>(start, 0, step < 0 ? extent - 1 : extent);
    at.start += start * at.strides[axis];
    at.strides[axis] *= step;
    at.dims[axis] = shape[axis];
  }
  if (Elements(at.dims) == 0) return Refuse(node, "nothing is left");
  return Take(at, from.image, graph_.value(node.outputs[0]).name);
}

// Along the densest dim the parts stay where they are.
absl::StatusOr<Held> Lowering::Split(const Node& node, ValueId result, Held from) {
  Strided at = StridesOf(from);
  int64_t axis = node.GetInt("axis", 0), start = 0;
  axis += axis < 0 ? static_cast<int64_t>(at.dims.size()) : 0;
  for (const ValueId output : node.outputs) {
    if (output == result) break;
    start += ShapeOf(output)[axis];
  }
  const int64_t extent = ShapeOf(result)[axis];
  const std::string& name = graph_.value(result).name;
  const ProgramTensor whole = program_.tensors[from.tensor];
  const int64_t last = from.image ? 1 : static_cast<int64_t>(at.dims.size()) - 1;
  if (axis == last && options_.passes.join_without_copies && whole.view_of < 0 &&
      whole.place == file::Place::kArena) {
    Dims dims = whole.dims;
    dims.back() = extent;
    const int slice = AddTensor(name, whole.type, dims, whole.codes);
    program_.tensors[slice].view_of = from.tensor;
    program_.tensors[slice].first = start;
    return Held{slice, from.image};
  }
  at.start += start * at.strides[axis];
  at.dims[axis] = extent;
  return Take(at, from.image, name);
}

absl::StatusOr<Held> Lowering::Enlarge(const Node& node, Held from) {
  const Shape before = ShapeOf(node.inputs[0]), after = ShapeOf(node.outputs[0]);
  const std::string mode = node.GetString("mode", "nearest");
  bool whole =
      mode == "nearest" && before.size() == 4 && before[0] == after[0] && before[1] == after[1];
  for (size_t i = 2; whole && i < 4; ++i) whole = after[i] % before[i] == 0;
  // Whole factors only, under the rules where each pixel becomes a block.
  const std::string where = node.GetString("coordinate_transformation_mode", "half_pixel");
  const std::string rounding = node.GetString("nearest_mode", "round_prefer_floor");
  const bool blocks = (where == "asymmetric" && rounding == "floor") ||
                      ((where == "half_pixel" || where == "pytorch_half_pixel") &&
                       (rounding == "round_prefer_floor" || rounding == "round_prefer_ceil"));
  if (!whole || !blocks) return ResizeNearest(node, from);
  DS_ASSIGN_OR_RETURN(const int image, AsImage(from));
  const Strided at = StridesOf(Held{image});
  const int64_t y = after[2] / before[2], x = after[3] / before[3];
  const Strided repeated{at.tensor,
                         at.start,
                         {at.dims[0], at.dims[1], y, at.dims[2], x, at.dims[3]},
                         {at.strides[0], at.strides[1], 0, at.strides[2], 0, at.strides[3]}};
  DS_ASSIGN_OR_RETURN(const int result,
                      Move(repeated, ImageDims(after), graph_.value(node.outputs[0]).name));
  return Held{result, true};
}

absl::StatusOr<Held> Lowering::Concat(const Node& node, std::vector<Held> parts) {
  const Shape& shape = ShapeOf(node.outputs[0]);
  int64_t axis = node.GetInt("axis", 0);
  axis += axis < 0 ? static_cast<int64_t>(shape.size()) : 0;
  const bool image = std::any_of(parts.begin(), parts.end(), [](Held h) { return h.image; });
  std::vector<int> inputs;
  for (const Held part : parts) {
    absl::StatusOr<int> tensor = image ? AsImage(part) : AsPlain(part);
    DS_RETURN_IF_ERROR(tensor.status());
    DS_ASSIGN_OR_RETURN(const int dense, Dense(*tensor));
    inputs.push_back(dense);
  }
  const Dims dims = image ? ImageDims(shape) : Dims(shape.begin(), shape.end());
  constexpr int64_t kImageAxis[] = {0, 3, 1, 2};
  if (image) axis = kImageAxis[axis];
  const ProgramTensor first = program_.tensors[inputs[0]];
  const int result = AddTensor(graph_.value(node.outputs[0]).name, first.type, dims, first.codes);
  const Dims outer(dims.begin(), dims.begin() + axis);
  Emit(OperatorKind::kConcat, node, std::move(inputs), result).parameters =
      file::ConcatParameters{static_cast<uint32_t>(Elements(outer))};
  return Held{result, image};
}

absl::StatusOr<Held> Lowering::Broadcast(Held held, const Shape& result, const std::string& name) {
  if (ShapeOf(held) == result) return held;
  Strided at = StridesOf(held);
  const size_t front = result.size() - at.dims.size();
  Strided repeated{at.tensor, at.start, Dims(result.begin(), result.end()), Dims(result.size(), 0)};
  for (size_t i = 0; i < at.dims.size(); ++i) {
    if (at.dims[i] != 1) repeated.strides[front + i] = at.strides[i];
  }
  return Take(repeated, held.image, absl::StrCat(name, ".repeated"));
}

absl::StatusOr<Lowering::Operands> Lowering::Spread(Held a, Held b, const Shape& result,
                                                    const std::string& name) {
  Operands operands;
  if (ShapeOf(a) != result && ShapeOf(b) == result) {
    std::swap(a, b);
    operands.swapped = true;
  }
  operands.image = result.size() == 4 && (a.image || b.image);
  DS_ASSIGN_OR_RETURN(a, Broadcast(a, result, name));
  absl::StatusOr<int> first = operands.image ? AsImage(a) : AsPlain(a);
  DS_RETURN_IF_ERROR(first.status());
  operands.a = *first;
  // Equal axes in front.
  Shape shape = ShapeOf(b);
  shape.insert(shape.begin(), result.size() - shape.size(), 1);
  const Dims dims = operands.image ? ImageDims(shape) : Dims(shape.begin(), shape.end());
  const Dims whole = program_.tensors[operands.a].dims;
  const bool row = !whole.empty() && dims.back() == whole.back() && Elements(dims) == whole.back();
  const bool image_row = operands.image && dims == Dims{whole[0], 1, 1, whole[3]};
  if (shape != result && (row || image_row)) {
    DS_ASSIGN_OR_RETURN(const int plain, AsPlain(b));  // one pixel, or one axis alone
    operands.spread = row ? file::Spread::kRow : file::Spread::kImageRow;
    DS_ASSIGN_OR_RETURN(operands.b, View(plain, row ? Dims{whole.back()} : dims, name));
    return operands;
  }
  const bool constant = program_.tensors[b.tensor].place == file::Place::kConstant;
  if (constant && Elements(dims) == 1 && !whole.empty()) {
    operands.spread = file::Spread::kRow;
    const Strided repeated{b.tensor, 0, {whole.back()}, {0}};
    DS_ASSIGN_OR_RETURN(operands.b, Move(repeated, {whole.back()}, name));
    return operands;
  }
  DS_ASSIGN_OR_RETURN(const Held same, Broadcast(b, result, name));
  absl::StatusOr<int> second = operands.image ? AsImage(same) : AsPlain(same);
  DS_RETURN_IF_ERROR(second.status());
  operands.b = *second;
  return operands;
}

}  // namespace ds::engine::compile
