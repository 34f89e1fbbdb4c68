#include "jobs/model_factory.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/finite_weights.h"
#include "graph/onnx/onnx.h"
#include "graph/passes/dynamic_batch.h"
#include "graph/passes/passes.h"
#include "graph/replace_head.h"
#include "graph/trained_values.h"
#include "graph/zoo/zoo.h"
#include "trainer/input_binding.h"

namespace ds {
namespace {

// The model's options, with the data's extents where the section says nothing. What the kind of
// data lacks keeps the model's default.
ModelOptions Sized(ModelOptions options, const DatasetInfo& data) {
  const ModelOptions defaults;
  const auto fill = [](int64_t& extent, int64_t from_data, int64_t otherwise) {
    if (extent == 0) extent = from_data > 0 ? from_data : otherwise;
  };
  fill(options.channels, data.channels, defaults.channels);
  fill(options.height, data.height, defaults.height);
  fill(options.width, data.width, defaults.width);
  fill(options.sequence_length, data.sequence_length, defaults.sequence_length);
  fill(options.classes, data.classes, defaults.classes);
  return options;
}

absl::Status CheckClasses(int64_t classes, const DatasetInfo& data) {
  if (classes >= data.classes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("model.classes is ", classes, " but the data has ",
                                                 data.classes,
                                                 " classes; raise it or leave it out"));
}

// Where a classifier's output has its classes: of pixels behind the sample, else last. Negative
// where nobody knows.
int ClassAxis(const std::optional<Shape>& output) {
  if (!output || output->empty()) return -1;
  const int axis = output->size() >= 4 ? 1 : static_cast<int>(output->size()) - 1;
  return (*output)[static_cast<size_t>(axis)] == kDynamicDim ? -1 : axis;
}

absl::StatusOr<Graph> LoadForFineTuning(const ModelConfig& config, const DatasetInfo& data,
                                        uint64_t seed, std::vector<std::string>* notes) {
  DS_ASSIGN_OR_RETURN(Graph graph, ImportOnnx(config.onnx, {.notes = notes}));
  DS_RETURN_IF_ERROR(Annotate(WidenHalves(graph, notes), config.onnx));
  DS_RETURN_IF_ERROR(Annotate(MakeBatchDynamic(graph), config.onnx));
  DS_RETURN_IF_ERROR(CheckInputs(graph, data, config.onnx));
  if (graph.outputs().empty()) {
    return absl::InvalidArgumentError(absl::StrCat("model ", config.onnx, " has no output"));
  }
  // Of tensors nobody knows what their numbers mean: a head is replaced when asked for.
  if (data.kind == SampleKind::kTensors && config.options.classes == 0) return graph;
  const int64_t classes = Sized(config.options, data).classes;
  DS_RETURN_IF_ERROR(CheckClasses(classes, data));
  const auto& output = graph.value(graph.outputs()[0]).shape;
  const int axis = ClassAxis(output);
  if (axis >= 0 && (*output)[static_cast<size_t>(axis)] != classes) {
    DS_RETURN_IF_ERROR(Annotate(ReplaceClassifier(graph, classes, seed), config.onnx));
  }
  return graph;
}

// A model for one sample whose batch cannot be told apart runs on one at a time.
absl::Status MakeBatchDynamicIfItCan(Graph& graph, std::vector<std::string>* notes) {
  Graph dynamic = graph;
  const absl::Status made = MakeBatchDynamic(dynamic);
  if (made.ok()) {
    graph = std::move(dynamic);
    return made;
  }
  const auto& first = graph.value(graph.inputs()[0]).shape;
  if (!first.has_value() || first->empty() || first->front() != 1) return made;
  if (notes == nullptr) return absl::OkStatus();
  notes->push_back(absl::StrCat("runs one sample at a time: ", made.message()));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ModelAsItIs(const std::string& path, int64_t data_classes) {
  DS_ASSIGN_OR_RETURN(const Graph graph, ImportOnnx(path, {.read_weights = false}));
  ModelConfig model = {.onnx = path};
  if (graph.outputs().empty()) return model;
  const auto& shape = graph.value(graph.outputs()[0]).shape;
  const int axis = ClassAxis(shape);
  if (axis < 0) return model;
  const int64_t classes = (*shape)[static_cast<size_t>(axis)];
  // Some networks give pixels their classes last; labels of pixels come as tensors, whose model
  // keeps its head where nobody names a number.
  if (classes < data_classes && shape->back() >= data_classes) return model;
  model.options.classes = classes;
  if (classes >= data_classes) return model;
  return absl::InvalidArgumentError(absl::StrCat("model ", path, " tells ", model.options.classes,
                                                 " classes apart, the data has ", data_classes,
                                                 "; give the data that it was trained on"));
}

absl::StatusOr<Graph> LoadAsItIs(const std::string& path, const DatasetInfo& data,
                                 std::vector<std::string>* notes) {
  DS_ASSIGN_OR_RETURN(Graph graph, ImportOnnx(path, {.notes = notes}));
  DS_RETURN_IF_ERROR(Annotate(WidenHalves(graph, notes), path));
  DS_RETURN_IF_ERROR(Annotate(MakeBatchDynamicIfItCan(graph, notes), path));
  DS_RETURN_IF_ERROR(CheckInputs(graph, data, path));
  DS_RETURN_IF_ERROR(Annotate(CheckFiniteWeights(graph), path));
  if (graph.outputs().empty())
    return absl::InvalidArgumentError(absl::StrCat("model ", path, " has no output"));
  const auto& shape = graph.value(graph.outputs()[0]).shape;
  const bool classifies = graph.outputs().size() == 1 && shape && shape->size() == 2 &&
                          shape->back() > 1 && data.kind != SampleKind::kTensors;
  if (!classifies || shape->back() >= data.classes) return graph;
  return absl::InvalidArgumentError(absl::StrCat("model ", path, " tells ", shape->back(),
                                                 " classes apart, the data has ", data.classes,
                                                 "; give the data that it was trained on"));
}

absl::StatusOr<Graph> MakeModel(const ModelConfig& config, const DatasetInfo& data, uint64_t seed,
                                std::vector<std::string>* notes) {
  if (!config.onnx.empty()) {
    DS_ASSIGN_OR_RETURN(Graph graph, LoadForFineTuning(config, data, seed, notes));
    DS_RETURN_IF_ERROR(Annotate(ChooseTrained(graph, config.freeze, config.train), config.onnx));
    DS_RETURN_IF_ERROR(Annotate(CheckFiniteWeights(graph), config.onnx));
    return graph;
  }
  if (!config.plugin.empty()) DS_RETURN_IF_ERROR(LoadModelPlugin(config.plugin));
  ModelOptions options = Sized(config.options, data);
  options.seed = seed;
  DS_RETURN_IF_ERROR(CheckClasses(options.classes, data));
  DS_ASSIGN_OR_RETURN(Graph graph, BuildModel(config.name, options));
  DS_RETURN_IF_ERROR(CheckInputs(graph, data, config.name));
  DS_RETURN_IF_ERROR(Annotate(ChooseTrained(graph, config.freeze, config.train), config.name));
  DS_RETURN_IF_ERROR(Annotate(CheckFiniteWeights(graph), config.name));
  return graph;
}

}  // namespace ds
