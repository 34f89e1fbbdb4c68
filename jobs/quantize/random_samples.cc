#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/random.h"
#include "base/status.h"
#include "executor/graph_module.h"
#include "graph/finite_weights.h"
#include "graph/onnx/onnx.h"
#include "graph/passes/passes.h"
#include "jobs/quantize/sample_source.h"

namespace ds {
namespace {

// Extents that a file leaves open. Several samples a batch: an average of ranges over batches of
// one would cut most of them off.
constexpr int64_t kBatch = 8, kPixels = 224, kOther = 16;

struct RandomInput {
  std::string name;
  DType dtype = DType::kFloat32;
  Shape shape;       // the batch in front
  int64_t rows = 0;  // integers: of the table that they index; 0: of none
};

// Rows of the constant table that an input's integers index, wherever they pass only a Cast.
int64_t RowsIndexed(const Graph& graph, ValueId input) {
  for (const int reader : graph.Consumers(input)) {
    const Node& node = graph.nodes()[static_cast<size_t>(reader)];
    if (node.op == "Cast" || node.op == "Identity" || node.op == "Reshape") {
      const int64_t rows = RowsIndexed(graph, node.outputs[0]);
      if (rows > 0) return rows;
    }
    if (node.op != "Gather" || node.inputs[1] != input) continue;
    const auto& table = graph.value(node.inputs[0]).shape;
    const int64_t axis = node.GetInt("axis", 0);
    if (table.has_value() && axis >= 0 && axis < std::ssize(*table) &&
        (*table)[static_cast<size_t>(axis)] > 0) {
      return (*table)[static_cast<size_t>(axis)];
    }
  }
  return 0;
}

absl::StatusOr<RandomInput> MakeInput(const Graph& graph, ValueId id,
                                      const RandomSamplesOptions& options) {
  const Value& value = graph.value(id);
  RandomInput input{.name = value.name, .dtype = value.dtype};
  if (!value.shape.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("input '", value.name,
                     "' has no shape: export the model with one to quantise it without "
                     "data"));
  }
  input.shape = *value.shape;
  const auto given = options.shapes.find(value.name);
  if (given != options.shapes.end()) {
    const Shape& sample = given->second;
    bool fits = sample.size() + 1 == input.shape.size();
    for (size_t i = 0; fits && i < sample.size(); ++i) {
      const int64_t own = input.shape[i + 1];
      fits = sample[i] > 0 && (own == kDynamicDim || own == sample[i]);
    }
    if (!fits) {
      return absl::InvalidArgumentError(absl::StrCat("input '", value.name, "' is ",
                                                     ShapeString(input.shape), ", and a sample of ",
                                                     ShapeString(sample), " does not fit it"));
    }
    for (size_t i = 0; i < sample.size(); ++i) input.shape[i + 1] = sample[i];
  }
  for (size_t i = 0; i < input.shape.size(); ++i) {
    if (input.shape[i] != kDynamicDim) continue;
    const bool pixels = input.shape.size() == 4 && i >= 2;
    input.shape[i] = i == 0 ? kBatch : pixels ? kPixels : kOther;
  }
  if (!IsFloatingPoint(value.dtype)) input.rows = RowsIndexed(graph, id);
  return input;
}

class RandomSampleSource final : public SampleSource {
 public:
  static absl::StatusOr<std::unique_ptr<SampleSource>> Create(const std::string& model,
                                                              const RandomSamplesOptions& options) {
    auto source = std::unique_ptr<RandomSampleSource>(new RandomSampleSource());
    source->options_ = options;
    DS_ASSIGN_OR_RETURN(source->graph_, ImportOnnx(model, {.notes = &source->notes_}));
    DS_RETURN_IF_ERROR(Annotate(WidenHalves(source->graph_, &source->notes_), model));
    const Graph& graph = source->graph_;
    DS_RETURN_IF_ERROR(Annotate(CheckFiniteWeights(graph), model));
    if (graph.inputs().empty())
      return absl::InvalidArgumentError(absl::StrCat("model ", model, " has no input"));
    for (const ValueId id : graph.inputs()) {
      absl::StatusOr<RandomInput> input = MakeInput(graph, id, options);
      if (!input.ok()) return Annotate(input.status(), absl::StrCat("model ", model));
      source->inputs_.push_back(*std::move(input));
    }
    for (const auto& [name, shape] : options.shapes) {
      if (std::ranges::count(source->inputs_, name, &RandomInput::name) == 0)
        return absl::InvalidArgumentError(
            absl::StrCat("model ", model, " has no input '", name, "' to give a shape to"));
    }
    return source;
  }

  const Graph& graph() const override { return graph_; }

  absl::StatusOr<CalibrationData> Calibration(int64_t samples) override {
    return CalibrationData(
        [this, left = samples,
         batch = uint64_t{0}]() mutable -> absl::StatusOr<std::optional<std::vector<at::Tensor>>> {
          if (left <= 0) return std::nullopt;
          left -= BatchSize();
          return Draw(kCalibrationStream, batch++);
        });
  }

  absl::StatusOr<TestBatches> HeldOut(int64_t, int64_t) override {
    return absl::FailedPreconditionError(
        "an accuracy budget is measured on labels, and random samples have none: give data");
  }

  absl::StatusOr<TestBatches> Test() override {
    return TestBatches([this, left = options_.test_samples,
                        batch = uint64_t{0}]() mutable -> absl::StatusOr<std::optional<TestBatch>> {
      if (left <= 0) return std::nullopt;
      left -= BatchSize();
      return TestBatch{.inputs = Draw(kTestStream, batch++), .targets = std::nullopt};
    });
  }

  int64_t test_batches() const override {
    return (options_.test_samples + BatchSize() - 1) / BatchSize();
  }

  const std::vector<std::string>& notes() const override { return notes_; }

  std::string Describe() const override {
    std::vector<std::string> parts;
    for (const RandomInput& input : inputs_) {
      std::string how = "normal(0, 1)";
      if (input.dtype == DType::kBool) how = "true";
      if (!IsFloatingPoint(input.dtype) && input.dtype != DType::kBool)
        how = input.rows > 0 ? absl::StrCat("uniform in 0..", input.rows - 1) : "ones";
      parts.push_back(absl::StrCat("'", input.name, "' ", ShapeString(input.shape), " ", how));
    }
    return absl::StrCat("random inputs, which say nothing of real ones: ",
                        absl::StrJoin(parts, ", "));
  }

 private:
  static constexpr uint64_t kCalibrationStream = 1, kTestStream = 2;

  int64_t BatchSize() const {
    const Shape& shape = inputs_[0].shape;
    return shape.empty() ? 1 : std::max<int64_t>(1, shape[0]);
  }

  std::vector<at::Tensor> Draw(uint64_t stream, uint64_t batch) const {
    std::vector<at::Tensor> tensors;
    for (size_t i = 0; i < inputs_.size(); ++i) {
      const RandomInput& input = inputs_[i];
      at::Tensor values = at::empty(input.shape, at::kFloat);
      CounterRandom random(options_.seed, stream << 32 | batch, static_cast<uint32_t>(i));
      float* const out = values.data_ptr<float>();
      for (int64_t k = 0; k < values.numel(); ++k) {
        if (IsFloatingPoint(input.dtype)) {
          out[k] = static_cast<float>(random.NextNormal());
        } else {
          out[k] = input.rows > 0
                       ? static_cast<float>(random.NextBelow(static_cast<uint32_t>(input.rows)))
                       : 1.0f;
        }
      }
      tensors.push_back(values.to(ToTorch(Tensor(input.dtype, {1})).scalar_type()));
    }
    return tensors;
  }

  RandomSamplesOptions options_;
  Graph graph_;
  std::vector<RandomInput> inputs_;
  std::vector<std::string> notes_;
};

}  // namespace

std::vector<at::Tensor> FirstSamplesOf(const Graph& graph, const std::vector<at::Tensor>& inputs,
                                       int64_t count) {
  const auto& shape = graph.value(graph.inputs()[0]).shape;
  if (shape && !shape->empty() && shape->front() != kDynamicDim) return inputs;
  std::vector<at::Tensor> first;
  for (const at::Tensor& input : inputs) {
    const bool samples = input.dim() > 0 && input.size(0) == inputs[0].size(0);
    first.push_back(samples ? input.narrow(0, 0, std::min(count, input.size(0))) : input);
  }
  return first;
}

absl::StatusOr<std::unique_ptr<SampleSource>> RandomSamples(const std::string& model,
                                                            const RandomSamplesOptions& options) {
  return RandomSampleSource::Create(model, options);
}

}  // namespace ds
