#include "trainer/input_binding.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "graph/input_layout.h"

namespace ds {
namespace {

bool ShapeFits(const std::optional<Shape>& taken, const Shape& have) {
  if (!taken.has_value() || taken->size() != have.size()) return false;
  for (size_t i = 0; i < have.size(); ++i) {
    if ((*taken)[i] != kDynamicDim && have[i] != kDynamicDim && (*taken)[i] != have[i])
      return false;
  }
  return true;
}

std::string TakenShape(const Value& input) {
  return input.shape.has_value() ? ShapeString(*input.shape) : "unknown";
}

Shape ToNhwc(const Shape& nchw) { return {nchw[0], nchw[2], nchw[3], nchw[1]}; }

std::string InputNames(const Graph& graph) {
  return absl::StrJoin(graph.inputs(), ", ", [&graph](std::string* out, ValueId id) {
    const Value& value = graph.value(id);
    absl::StrAppend(out, "'", value.name, "' (", Name(value.dtype), " ", TakenShape(value), ")");
  });
}

absl::Status NoMatch(const Graph& graph, absl::Span<const std::string> names) {
  const std::string have =
      absl::StrJoin(names, ", ", [](std::string* out, const std::string& name) {
        absl::StrAppend(out, name.empty() ? "one without a name" : absl::StrCat("'", name, "'"));
      });
  return absl::InvalidArgumentError(
      absl::StrCat("the model takes ", graph.inputs().size(), " inputs: ", InputNames(graph),
                   "; the data has ", names.size(), ": ", have,
                   "; name the data's arrays as the model's inputs, and put what is no input "
                   "elsewhere"));
}

absl::Status CheckArray(const Value& input, const ArrayInfo& array) {
  const std::string wanted =
      absl::StrCat("takes input '", input.name, "' of ", Name(input.dtype), " ", TakenShape(input));
  Shape shape = {kDynamicDim};
  shape.insert(shape.end(), array.shape.begin(), array.shape.end());
  const std::string have =
      absl::StrCat("the data has ", Name(array.dtype), " ", ShapeString(shape));
  if (!TypeFits(array.dtype, input.dtype)) {
    return absl::InvalidArgumentError(
        absl::StrCat(wanted, ", ", have, "; save the array as ", Name(input.dtype)));
  }
  if (ShapeFits(input.shape, shape)) return absl::OkStatus();
  if (IsWholeSample(input, std::ssize(shape)) && ShapeFits(input.shape, array.shape))
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      wanted, ", ", have, "; save the array with that shape, samples along the first axis; where ",
      "the input has no axis for samples, with one in front"));
}

absl::Status CheckTensors(const Graph& graph, const DatasetInfo& data) {
  std::vector<std::string> names;
  for (const ArrayInfo& array : data.inputs) names.push_back(array.name);
  DS_ASSIGN_OR_RETURN(const std::vector<size_t> order, BindInputs(graph, names));
  for (size_t i = 0; i < order.size(); ++i)
    DS_RETURN_IF_ERROR(CheckArray(graph.value(graph.inputs()[i]), data.inputs[order[i]]));
  return absl::OkStatus();
}

// The shape one sample of images or text has, with the batch in front.
Shape DataInputShape(const DatasetInfo& data) {
  if (data.kind == SampleKind::kText) return {kDynamicDim, data.sequence_length};
  return {kDynamicDim, data.channels, data.height, data.width};
}

}  // namespace

absl::StatusOr<std::vector<size_t>> BindInputs(const Graph& graph,
                                               absl::Span<const std::string> names) {
  const size_t count = graph.inputs().size();
  if (names.size() == 1 && count == 1 && names[0].empty()) return std::vector<size_t>{0};
  std::vector<size_t> order;
  for (const ValueId id : graph.inputs()) {
    const auto found = std::find(names.begin(), names.end(), graph.value(id).name);
    if (found != names.end()) order.push_back(static_cast<size_t>(found - names.begin()));
  }
  if (order.size() != count || names.size() != count) return NoMatch(graph, names);
  return order;
}

bool TypeFits(DType have, DType wanted) {
  if (have == wanted) return true;
  if (have == DType::kBool || wanted == DType::kBool) return false;
  return IsFloatingPoint(have) == IsFloatingPoint(wanted);
}

bool IsWholeSample(const Value& input, int64_t rank_with_samples) {
  if (!input.shape.has_value() || std::ssize(*input.shape) + 1 != rank_with_samples) return false;
  return input.shape->empty() || input.shape->front() != kDynamicDim;
}

bool RunsSingly(const Graph& graph, const DatasetInfo& data) {
  const auto& first = graph.value(graph.inputs()[0]).shape;
  if (first.has_value() && !first->empty() && first->front() == 1) return true;
  return std::ranges::any_of(data.inputs, [&graph](const ArrayInfo& array) {
    const auto input = std::ranges::find(graph.inputs(), array.name,
                                         [&graph](ValueId id) { return graph.value(id).name; });
    return input != graph.inputs().end() &&
           IsWholeSample(graph.value(*input), std::ssize(array.shape) + 1);
  });
}

bool WantsChannelsLast(const Graph& graph, const Shape& nchw) {
  if (nchw.size() != 4 || graph.inputs().size() != 1) return false;
  const ValueId input = graph.inputs()[0];
  const InputLayout layout = LayoutOfInput(graph, input);
  if (layout != InputLayout::kUnknown) return layout == InputLayout::kChannelsLast;
  const std::optional<Shape>& taken = graph.value(input).shape;
  return !ShapeFits(taken, nchw) && ShapeFits(taken, ToNhwc(nchw));
}

absl::Status CheckInputs(const Graph& graph, const DatasetInfo& data, const std::string& model) {
  if (data.kind == SampleKind::kTensors)
    return Annotate(CheckTensors(graph, data), absl::StrCat("model ", model));
  if (graph.inputs().size() != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "model ", model, " has ", graph.inputs().size(), " inputs: ", InputNames(graph),
        "; images and text feed models with one: data.type=tensors takes an array for "
        "each"));
  }
  const Value& input = graph.value(graph.inputs()[0]);
  const Shape wanted = DataInputShape(data);
  const bool channels_last = WantsChannelsLast(graph, wanted);
  if (ShapeFits(input.shape, channels_last ? ToNhwc(wanted) : wanted)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "model ", model, " takes input '", input.name, "' of shape ", TakenShape(input),
      channels_last ? " (channels last, as its first operators say)" : "", ", the data has ",
      ShapeString(wanted), channels_last ? " (channels first)" : "",
      "; choose data.image_size or model.channels, height and width so that they agree"));
}

}  // namespace ds
