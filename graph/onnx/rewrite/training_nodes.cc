// Nodes that a file has in their training form.
#include <numeric>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/onnx/rewrite/emitter.h"
#include "graph/onnx/rewrite/normalize.h"
#include "graph/passes/derived.h"

namespace ds::onnx_io {
namespace {

constexpr int kFirstWithTrainingMode = 14;  // before, outputs beyond the first said so
constexpr float kDefaultEpsilon = 1e-5F;

std::string Counted(const std::vector<std::string>& names, absl::string_view op) {
  return names.size() == 1
             ? absl::StrCat("node \"", names[0], "\" (", op, ") was")
             : absl::StrCat(names.size(), " ", op, " nodes (first \"", names[0], "\") were");
}

}  // namespace

// Whether statistics are gathered is the executor's business. But the statistics of a weight are
// part of the model: that is a standardisation, which is written out, also where the file computes
// the statistics by nodes of its own (PyTorch's newer exporter).
absl::Status Normalizer::RewriteBatchNorm(Node& node) {
  Emitter emit(graph_, node);
  const auto mode = node.attributes.find("training_mode");
  bool trains = opset_ < kFirstWithTrainingMode && node.outputs.size() > 1;
  if (mode != node.attributes.end()) {
    const int64_t* number = std::get_if<int64_t>(&mode->second);
    trains = number != nullptr && *number != 0;
    node.attributes.erase(mode);
  }
  if (node.inputs.size() != 5 || node.outputs.empty()) return absl::OkStatus();
  const bool has_statistics = !trains;
  if (has_statistics && graph_.IsInitializer(node.inputs[3]) &&
      graph_.IsInitializer(node.inputs[4]))
    return absl::OkStatus();
  if (DependOnInputs(graph_)[static_cast<size_t>(node.inputs[0])]) {
    if (trains) training_norms_.push_back(node.name);
    return absl::OkStatus();
  }
  DS_ASSIGN_OR_RETURN(const Shape shape, emit.ShapeOf(node.inputs[0]));
  if (shape.size() < 2) return absl::OkStatus();  // left for the schema to refuse
  std::vector<int64_t> axes(shape.size());
  std::iota(axes.begin(), axes.end(), 0);
  axes.erase(axes.begin() + 1);
  std::vector<int64_t> behind(shape.size() - 2);
  std::iota(behind.begin(), behind.end(), 1);
  const auto held = node.attributes.find("epsilon");
  const float* given = held == node.attributes.end() ? nullptr : std::get_if<float>(&held->second);
  const Attributes reduce = {{"axes", axes}, {"keepdims", int64_t{1}}};
  const ValueId x = node.inputs[0];
  const auto vector = [&](ValueId id) {
    if (behind.empty()) return id;
    const auto count = static_cast<int64_t>(behind.size());
    return emit.Op("Unsqueeze",
                   {id, emit.Constant("axes", Tensor::From<int64_t>({count}, behind))});
  };
  const ValueId mean = has_statistics ? vector(node.inputs[3]) : emit.Op("ReduceMean", {x}, reduce);
  const ValueId centred = emit.Op("Sub", {x, mean});
  const ValueId variance =
      has_statistics ? vector(node.inputs[4])
                     : emit.Op("ReduceMean", {emit.Op("Mul", {centred, centred})}, reduce);
  DS_ASSIGN_OR_RETURN(const ValueId epsilon,
                      emit.Number("epsilon", given == nullptr ? kDefaultEpsilon : *given, x));
  const ValueId deviation = emit.Op("Sqrt", {emit.Op("Add", {variance, epsilon})});
  const ValueId unit = emit.Op("Div", {centred, deviation});
  const ValueId scaled = emit.Op("Mul", {unit, vector(node.inputs[1])});
  node.inputs = {scaled, vector(node.inputs[2])};
  node.op = "Add";
  node.attributes.clear();
  return absl::OkStatus();
}

std::vector<std::string> Normalizer::Notes() const {
  std::vector<std::string> notes;
  if (!training_norms_.empty()) {
    notes.push_back(absl::StrCat(
        Counted(training_norms_, "BatchNormalization"),
        " exported in training mode: outside training, and in every file that is written, running "
        "statistics are used instead of the batch's own"));
  }
  if (!training_dropouts_.empty()) {
    notes.push_back(absl::StrCat(Counted(training_dropouts_, "Dropout"),
                                 " exported in training mode: outside training, and in every file "
                                 "that is written, nothing is dropped"));
  }
  return notes;
}

}  // namespace ds::onnx_io
