// Along axes: reductions, picks, pads, sums so far, the best of many; and point by point.
#include <algorithm>
#include <cstring>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "deploy/engine/compile/lower/lowering.h"

namespace ds::engine::compile {
namespace {

using file::kGeneralDims;
using file::OperatorKind;
using file::ReduceWay;
using file::Type;

struct Named {
  std::string_view op;
  ReduceWay way;
};
constexpr Named kWays[] = {
    {"ReduceSum", ReduceWay::kSum},
    {"ReduceMean", ReduceWay::kMean},
    {"ReduceMax", ReduceWay::kMaximum},
    {"ReduceMin", ReduceWay::kMinimum},
    {"ReduceProd", ReduceWay::kProduct},
    {"ReduceL1", ReduceWay::kL1},
    {"ReduceL2", ReduceWay::kL2},
    {"ReduceLogSum", ReduceWay::kLogSum},
    {"ReduceLogSumExp", ReduceWay::kLogSumExp},
    {"ReduceSumSquare", ReduceWay::kSumSquare},
};

uint32_t Field(int64_t number) { return static_cast<uint32_t>(number); }

// The extents before an axis, its own and those behind.
struct Around {
  uint32_t outer = 1, extent = 1, inner = 1;
};
Around AroundAxis(const Dims& dims, size_t axis) {
  Around result;
  for (size_t i = 0; i < dims.size(); ++i) {
    (i < axis ? result.outer : i == axis ? result.extent : result.inner) *= Field(dims[i]);
  }
  return result;
}

int64_t AxisOf(const Node& node, int64_t fallback, size_t rank) {
  const int64_t axis = node.GetInt("axis", fallback);
  return axis < 0 ? axis + static_cast<int64_t>(rank) : axis;
}

}  // namespace

absl::StatusOr<Held> Lowering::ReduceGeneral(const Node& node) {
  std::optional<ReduceWay> way;
  for (const Named& named : kWays) {
    if (named.op == node.op) way = named.way;
  }
  const ValueId id = node.outputs[0];
  const Shape& from = ShapeOf(node.inputs[0]);
  std::vector<int64_t> axes = node.GetInts("axes", {});
  if (node.inputs.size() > 1 && node.inputs[1] != kNoValue) {
    const auto given = IntsOf(graph_, node, 1);
    if (!given) return Refuse(node, "its axes are no constant");
    axes = *given;
  }
  const bool keeps = axes.empty() && node.GetInt("noop_with_empty_axes", 0) != 0;
  if (keeps && node.op == "ReduceSum") return Value(node.inputs[0]);
  if (keeps) return Refuse(node, "it reduces over no axes");
  std::vector<bool> reduced(from.size(), axes.empty());
  for (const int64_t axis : axes) reduced[axis < 0 ? axis + from.size() : axis] = true;
  DS_ASSIGN_OR_RETURN(const Held counted, Counted(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(int tensor, AsPlain(counted));
  const std::string& name = graph_.value(id).name;
  if (program_.tensors[tensor].type == Type::kBool) {
    tensor = Convert(tensor, Type::kInt32, false, name);
  }
  // Those reduced last, unless they are neighbours already.
  std::vector<size_t> order, last;
  for (size_t i = 0; i < from.size(); ++i) (reduced[i] ? last : order).push_back(i);
  bool neighbours = true;
  for (size_t i = 1; i < last.size(); ++i) neighbours &= last[i] == last[i - 1] + 1;
  Around around;
  for (size_t i = 0; i < from.size(); ++i) {
    const bool before = neighbours && !last.empty() && i < last.front();
    const bool behind = neighbours && !reduced[i] && !before;
    (reduced[i] ? around.extent : behind ? around.inner : around.outer) *= Field(from[i]);
  }
  if (!neighbours) {
    order.insert(order.end(), last.begin(), last.end());
    const Strided at = StridesOf(Held{tensor});
    Strided turned{at.tensor, at.start, {}, {}};
    for (const size_t axis : order) {
      turned.dims.push_back(at.dims[axis]);
      turned.strides.push_back(at.strides[axis]);
    }
    DS_ASSIGN_OR_RETURN(tensor, Move(turned, turned.dims, absl::StrCat(name, ".turned")));
  }
  const Shape& shape = ShapeOf(id);
  const int result =
      AddTensor(name, program_.tensors[tensor].type, Dims(shape.begin(), shape.end()));
  Emit(OperatorKind::kReduce, node, {tensor}, result).parameters = file::ReduceParameters{
      static_cast<uint32_t>(*way), around.outer, around.extent, around.inner};
  return Held{Numbered(result, id)};
}

absl::StatusOr<Held> Lowering::ArgGeneral(const Node& node) {
  const ValueId id = node.outputs[0];
  DS_ASSIGN_OR_RETURN(const Held counted, Counted(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(const int tensor, AsPlain(counted));
  const Dims& dims = program_.tensors[tensor].dims;
  const Around a = AroundAxis(dims, static_cast<size_t>(AxisOf(node, 0, dims.size())));
  const bool last = node.GetInt("select_last_index", 0) != 0;
  const ReduceWay way = node.op == "ArgMax"
                            ? (last ? ReduceWay::kArgMaximumLast : ReduceWay::kArgMaximum)
                            : (last ? ReduceWay::kArgMinimumLast : ReduceWay::kArgMinimum);
  const Shape& shape = ShapeOf(id);
  const int result =
      AddTensor(graph_.value(id).name, Type::kInt64, Dims(shape.begin(), shape.end()));
  Emit(OperatorKind::kReduce, node, {tensor}, result).parameters =
      file::ReduceParameters{static_cast<uint32_t>(way), a.outer, a.extent, a.inner};
  return Held{result};
}

absl::StatusOr<Held> Lowering::ScanGeneral(const Node& node) {
  const auto axis = IntsOf(graph_, node, 1);
  if (!axis || axis->size() != 1) return Refuse(node, "its axis is no constant");
  const ValueId id = node.outputs[0];
  DS_ASSIGN_OR_RETURN(const Held counted, Counted(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(const int tensor, AsPlain(counted));
  const ProgramTensor from = program_.tensors[tensor];
  const auto rank = static_cast<int64_t>(from.dims.size());
  const Around a =
      AroundAxis(from.dims, static_cast<size_t>((*axis)[0] < 0 ? (*axis)[0] + rank : (*axis)[0]));
  const int result = AddTensor(graph_.value(id).name, from.type, from.dims);
  Emit(OperatorKind::kScan, node, {tensor}, result).parameters =
      file::ScanParameters{a.outer, a.extent, a.inner, Field(node.GetInt("exclusive", 0) != 0),
                           Field(node.GetInt("reverse", 0) != 0)};
  return Held{Numbered(result, id)};
}

absl::StatusOr<Held> Lowering::TopKGeneral(const Node& node, ValueId id) {
  DS_ASSIGN_OR_RETURN(const Held counted, Counted(node.inputs[0]));
  DS_ASSIGN_OR_RETURN(const int tensor, AsPlain(counted));
  const ProgramTensor from = program_.tensors[tensor];
  const Shape shape = ShapeOf(node.outputs[0] == kNoValue ? id : node.outputs[0]);
  const auto axis = static_cast<size_t>(AxisOf(node, -1, from.dims.size()));
  const Around a = AroundAxis(from.dims, axis);
  const int values = AddTensor(absl::StrCat(node.name, ".values"), from.type, shape);
  const int places = AddTensor(absl::StrCat(node.name, ".places"), Type::kInt64, shape);
  Step& step = Emit(OperatorKind::kTopK, node, {tensor}, values);
  step.outputs.push_back(places);
  step.parameters = file::TopKParameters{a.outer, a.extent, a.inner, Field(shape[axis]),
                                         Field(node.GetInt("largest", 1) != 0)};
  Held best{values};
  if (node.outputs[0] != kNoValue) {
    best.tensor = Numbered(values, node.outputs[0]);
    values_[node.outputs[0]] = best;
  }
  if (node.outputs.size() > 1 && node.outputs[1] != kNoValue) {
    values_[node.outputs[1]] = Held{places};
  }
  return id == node.outputs[0] ? best : Held{places};
}

// Along a value's axis, in the layout that it has.
absl::StatusOr<Held> Lowering::TakeConstant(Held from, int64_t axis,
                                            const std::vector<int64_t>& indices, uint32_t fill,
                                            uint32_t fill_high, const std::string& name) {
  DS_ASSIGN_OR_RETURN(from.tensor, Dense(from.tensor));
  constexpr int64_t kImageAxis[] = {0, 3, 1, 2};
  const auto place = static_cast<size_t>(from.image ? kImageAxis[axis] : axis);
  const ProgramTensor source = program_.tensors[from.tensor];
  const std::vector<int32_t> numbers(indices.begin(), indices.end());
  const int which = AddConstant(absl::StrCat(name, ".indices"), Type::kInt32,
                                {static_cast<int64_t>(numbers.size())}, numbers);
  Dims dims = source.dims;
  dims[place] = static_cast<int64_t>(indices.size());
  const Around a = AroundAxis(source.dims, place);
  const int result = AddTensor(name, source.type, dims, source.codes);
  program_.steps.push_back(
      {.kind = OperatorKind::kTake,
       .name = name,
       .inputs = {from.tensor, which},
       .outputs = {result},
       .parameters = file::TakeParameters{
           a.outer, a.extent, a.inner, Field(dims[place]), 0, {fill, fill_high}}});
  return Held{result, from.image};
}

absl::StatusOr<Held> Lowering::TakeComputed(const Node& node, Held from) {
  const ValueId id = node.outputs[0];
  DS_ASSIGN_OR_RETURN(const int plain, AsPlain(from));
  DS_ASSIGN_OR_RETURN(const int tensor, Dense(plain));
  DS_ASSIGN_OR_RETURN(const int which, Operand(node.inputs[1]));
  const ProgramTensor source = program_.tensors[tensor];
  const Around a =
      AroundAxis(source.dims, static_cast<size_t>(AxisOf(node, 0, source.dims.size())));
  const Shape& shape = ShapeOf(id);
  const int result =
      AddTensor(graph_.value(id).name, source.type, Dims(shape.begin(), shape.end()), source.codes);
  Emit(OperatorKind::kTake, node, {tensor, which}, result).parameters = file::TakeParameters{
      a.outer, a.extent, a.inner, Field(Elements(program_.tensors[which].dims)), 1, {0, 0}};
  return Held{result};
}

// The bytes of what is written where nothing was, in the form that `tensor` has.
std::optional<Lowering::Fill> Lowering::FillOf(const Node& node, int tensor) {
  const bool given = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
  const bool codes = graph_.value(node.outputs[0]).dtype == DType::kFloat32 &&
                     program_.tensors[tensor].type == Type::kUint8;
  Fill fill{};
  if (graph_.value(node.outputs[0]).dtype == DType::kFloat32) {
    float value = 0;
    if (given) {
      const auto constant = ConstantFloats(graph_, makers_, node.inputs[2]);
      if (!constant || constant->num_elements() != 1) return std::nullopt;
      value = constant->span<float>()[0];
    }
    if (codes) {
      fill[0] = CodeOf(value, *CodeType(node.inputs[0]));
    } else {
      std::memcpy(fill.data(), &value, sizeof(value));
    }
    return fill;
  }
  if (given) {
    const Tensor* constant = graph_.Constant(node.inputs[2]);
    if (constant == nullptr || constant->num_elements() != 1) return std::nullopt;
    std::memcpy(fill.data(), constant->data(), static_cast<size_t>(constant->size_bytes()));
  }
  if (graph_.value(node.outputs[0]).dtype == DType::kInt8) fill[0] ^= 0x80;
  return fill;
}

absl::StatusOr<Held> Lowering::PadGeneral(const Node& node, Held held) {
  const auto pads = IntsOf(graph_, node, 1);
  if (!pads) return Refuse(node, "its pads are no constant");
  const Shape from = ShapeOf(node.inputs[0]);
  const size_t rank = from.size();
  std::vector<int64_t> axes;
  if (const auto given = IntsOf(graph_, node, 3)) {
    axes = *given;
  } else {
    for (size_t i = 0; i < rank; ++i) axes.push_back(static_cast<int64_t>(i));
  }
  const std::string mode = node.GetString("mode", "constant");
  const auto fill = FillOf(node, held.tensor);
  if (mode == "constant" && !fill) return Refuse(node, "its value is no constant");
  for (size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<size_t>(axes[i] < 0 ? axes[i] + rank : axes[i]);
    const int64_t before = (*pads)[i], behind = (*pads)[i + axes.size()], extent = from[axis];
    if (before == 0 && behind == 0) continue;
    std::vector<int64_t> indices;
    for (int64_t at = -before; at < extent + behind; ++at) {
      int64_t index = at;
      if (mode == "edge") index = std::clamp<int64_t>(at, 0, extent - 1);
      if (mode == "wrap") index = ((at % extent) + extent) % extent;
      if (mode == "reflect" && extent > 1) {
        const int64_t period = 2 * (extent - 1);
        index = ((at % period) + period) % period;
        index = index < extent ? index : period - index;
      }
      indices.push_back(index < 0 || index >= extent ? -1 : index);
    }
    DS_ASSIGN_OR_RETURN(held, TakeConstant(held, static_cast<int64_t>(axis), indices, (*fill)[0],
                                           (*fill)[1], absl::StrCat(node.name, ".axis", axis)));
  }
  return held;
}

absl::StatusOr<Held> Lowering::PointsGeneral(const Node& node) {
  const ValueId id = node.outputs[0];
  const bool scatters = node.op == "ScatterND" || node.op == "ScatterElements";
  const bool rows = node.op == "ScatterND" || node.op == "GatherND";
  const Shape data = ShapeOf(node.inputs[0]), index = ShapeOf(node.inputs[1]);
  Dims strides(data.size(), 1);
  for (size_t i = data.size(); i-- > 1;) strides[i - 1] = strides[i] * data[i];
  file::PointsParameters p{};
  std::fill_n(p.dims, kGeneralDims, 1u);
  std::fill_n(p.extents, kGeneralDims, 1u);
  p.inner = 1;
  if (index.empty() || index.size() > kGeneralDims || data.size() > kGeneralDims) {
    return Refuse(node, "it has more than six axes");
  }
  if (rows) {
    const auto batch = static_cast<size_t>(node.GetInt("batch_dims", 0));
    p.depth = Field(index.back());
    for (size_t d = 0; d < batch; ++d) {
      p.dims[d] = Field(index[d]);
      p.strides[d] = Field(strides[d]);
    }
    uint32_t tuples = 1;
    for (size_t d = batch; d + 1 < index.size(); ++d) tuples *= Field(index[d]);
    p.dims[batch] = tuples;
    if (batch >= kGeneralDims || batch + p.depth > data.size()) {
      return Refuse(node, "its indices are longer than its data has axes");
    }
    for (uint32_t d = 0; d < p.depth; ++d) {
      p.extents[d] = Field(data[batch + d]);
      p.steps[d] = Field(strides[batch + d]);
    }
    for (size_t d = batch + p.depth; d < data.size(); ++d) p.inner *= Field(data[d]);
  } else {
    const auto axis = static_cast<size_t>(AxisOf(node, 0, data.size()));
    p.depth = 1;
    p.extents[0] = Field(data[axis]);
    p.steps[0] = Field(strides[axis]);
    for (size_t d = 0; d < index.size(); ++d) {
      p.dims[d] = Field(index[d]);
      p.strides[d] = d == axis ? 0 : Field(strides[d]);
    }
  }
  constexpr std::string_view kReductions[] = {"none", "add", "mul", "max", "min"};
  for (uint32_t way = 0; scatters && way < 5; ++way) {
    if (node.GetString("reduction", "none") == kReductions[way]) p.way = way;
  }
  std::vector<int> inputs;
  for (const ValueId input : node.inputs) {
    DS_ASSIGN_OR_RETURN(const Held held, Value(input));
    DS_ASSIGN_OR_RETURN(const int plain, AsPlain(held));
    DS_ASSIGN_OR_RETURN(const int dense, Dense(plain));
    inputs.push_back(dense);
  }
  const Shape& shape = ShapeOf(id);
  const int result = AddTensor(graph_.value(id).name, program_.tensors[inputs[0]].type,
                               Dims(shape.begin(), shape.end()));
  Emit(scatters ? OperatorKind::kScatterNd : OperatorKind::kGatherNd, node, std::move(inputs),
       result)
      .parameters = p;
  return Held{result};
}

absl::StatusOr<Held> Lowering::AxesGeneral(const Node& node, ValueId id) {
  for (const Named& named : kWays) {
    if (named.op == node.op) return ReduceGeneral(node);
  }
  if (node.op == "ArgMax" || node.op == "ArgMin") return ArgGeneral(node);
  if (node.op == "CumSum") return ScanGeneral(node);
  if (node.op == "TopK") return TopKGeneral(node, id);
  if (node.op == "GatherND" || node.op == "GatherElements" || node.op == "ScatterND" ||
      node.op == "ScatterElements") {
    return PointsGeneral(node);
  }
  if (node.op == "Concat") return ConcatValues(node);
  if (node.op == "Resize") return ResampleReal(node);
  if (node.op == "ConvTranspose") return ConvTransposeReal(node);
  if (node.op == "GridSample") return GridSampleReal(node);
  if (node.op == "LSTM" || node.op == "GRU" || node.op == "RNN") return RecurrentReal(node, id);
  return Refuse(node, "none computes this operator");
}

}  // namespace ds::engine::compile
