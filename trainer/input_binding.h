// Which of a data set's arrays feeds which of a model's inputs, and whether it fits: names, element
// types and shapes, checked before anything runs.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/dataset.h"
#include "graph/graph.h"

namespace ds {

// For each of the graph's inputs, in its order, the position in `names` of what feeds it. One
// unnamed array feeds the only input. InvalidArgument names the inputs without an array and the
// arrays without an input, with the names that there are.
absl::StatusOr<std::vector<size_t>> BindInputs(const Graph& graph,
                                               absl::Span<const std::string> names);

// Whether an array's element type may stand for the model's: floats for floats, integers for
// integers (a narrower wanted type is checked value by value when a batch is converted), bool only
// for itself.
bool TypeFits(DType have, DType wanted);

// True where an array of so many axes, samples in front, has one more than the input, whose first
// extent is fixed: each of its samples is the whole input (a state [layers, N, width], a scalar),
// and the model runs one at a time.
bool IsWholeSample(const Value& input, int64_t rank_with_samples);

// True where the model runs one sample at a time: its file says so, or an array holds whole inputs.
bool RunsSingly(const Graph& graph, const DatasetInfo& data);

// True where the model takes images as [N, H, W, C], as its graph says (LayoutOfInput); where that
// says nothing, where `nchw`, the images' [N, C, H, W], fits its input in that order only.
bool WantsChannelsLast(const Graph& graph, const Shape& nchw);

// InvalidArgument where the data does not fit the graph's inputs: what the model takes, what the
// data has, and how to mend it. `model` is its name in messages.
absl::Status CheckInputs(const Graph& graph, const DatasetInfo& data, const std::string& model);

}  // namespace ds
