#include "federated/model/graph_model.h"

#include <cstring>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status.h"
#include "graph/onnx/onnx.h"
#include "nlohmann/json.hpp"

namespace ds::federated {
namespace {

constexpr size_t kRunningMean = 3, kRunningVariance = 4;  // inputs of BatchNormalization

// Running statistics that no gradient changes, and what each is.
std::map<ValueId, SlotKind> Statistics(const Graph& graph) {
  std::map<ValueId, SlotKind> found;
  for (const Node& node : graph.nodes()) {
    if (node.op != "BatchNormalization" || node.inputs.size() <= kRunningVariance) continue;
    const std::pair<size_t, SlotKind> slots[] = {{kRunningMean, SlotKind::kStatistic},
                                                 {kRunningVariance, SlotKind::kVariance}};
    for (const auto& [input, kind] : slots) {
      const auto at = graph.initializers().find(node.inputs[input]);
      if (at != graph.initializers().end() && !at->second.trainable) found[at->first] = kind;
    }
  }
  return found;
}

absl::Status AddSlot(GraphModel& model, ValueId id, SlotKind kind) {
  const Tensor& data = model.graph.initializers().at(id).data;
  const std::string& name = model.graph.value(id).name;
  if (data.dtype() != DType::kFloat32) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor '", name, "' trains, but is not float32; export the model in float32"));
  }
  model.layout.slots.push_back({.name = name, .count = data.num_elements(), .kind = kind});
  model.tensors.push_back(id);
  return absl::OkStatus();
}

absl::Status AddExtraStatistics(GraphModel& model) {
  const auto found = model.graph.metadata.find(kExtraStatistics);
  if (found == model.graph.metadata.end()) return absl::OkStatus();
  constexpr int64_t kMostFloats = int64_t{1} << 32;
  const auto json = nlohmann::json::parse(found->second, nullptr, /*allow_exceptions=*/false);
  bool sound = json.is_array();
  for (size_t i = 0; sound && i < json.size(); ++i) {
    const nlohmann::json& slot = json[i];
    sound = slot.is_array() && slot.size() == 2 && slot[0].is_string() &&
            slot[1].is_number_integer() && slot[1] > 0 && slot[1] < kMostFloats;
    if (!sound) break;
    model.layout.slots.push_back(
        {slot[0].get<std::string>(), slot[1].get<int64_t>(), SlotKind::kStatistic});
  }
  // What is 0 at first fits in memory many times over, where a file is honest.
  if (sound && model.layout.size() < kMostFloats) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("its metadata '", kExtraStatistics, "' is not a list of [name, count]"));
}

}  // namespace

void SetExtraStatistics(const std::vector<ModelSlot>& slots, Graph& graph) {
  nlohmann::json json = nlohmann::json::array();
  for (const ModelSlot& slot : slots) json.push_back({slot.name, slot.count});
  graph.metadata[kExtraStatistics] = json.dump();
}

std::vector<float> GraphModel::Weights() const {
  std::vector<float> weights;
  weights.reserve(static_cast<size_t>(layout.size()));
  for (const ValueId id : tensors) {
    const absl::Span<const float> values = graph.initializers().at(id).data.span<float>();
    weights.insert(weights.end(), values.begin(), values.end());
  }
  weights.resize(static_cast<size_t>(layout.size()), 0.0f);
  return weights;
}

absl::StatusOr<GraphModel> MakeGraphModel(Graph graph) {
  GraphModel model;
  model.graph = std::move(graph);
  for (const auto& [id, initializer] : model.graph.initializers()) {
    if (initializer.trainable) DS_RETURN_IF_ERROR(AddSlot(model, id, SlotKind::kParameter));
  }
  if (model.tensors.empty()) {
    return absl::InvalidArgumentError(
        "nothing in the model trains: its initialisers are all constants");
  }
  for (const auto& [id, kind] : Statistics(model.graph)) {
    DS_RETURN_IF_ERROR(AddSlot(model, id, kind));
  }
  DS_RETURN_IF_ERROR(AddExtraStatistics(model));
  return model;
}

absl::StatusOr<GraphModel> ReadGraphModel(const std::string& path) {
  DS_ASSIGN_OR_RETURN(Graph graph, ImportOnnx(path));
  absl::StatusOr<GraphModel> model = MakeGraphModel(std::move(graph));
  if (!model.ok()) return Annotate(model.status(), path);
  return model;
}

Graph WithWeights(const GraphModel& model, absl::Span<const float> weights) {
  DS_CHECK(static_cast<int64_t>(weights.size()) == model.layout.size());
  Graph graph = model.graph;
  for (const ValueId id : model.tensors) {
    Tensor& data = graph.mutable_initializers().at(id).data;
    const size_t count = static_cast<size_t>(data.num_elements());
    Tensor changed(DType::kFloat32, data.shape());
    if (count > 0)
      std::memcpy(changed.mutable_span<float>().data(), weights.data(), count * sizeof(float));
    data = std::move(changed);
    weights.remove_prefix(count);
  }
  return graph;
}

}  // namespace ds::federated
