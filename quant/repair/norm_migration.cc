#include "quant/repair/norm_migration.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "graph/passes/uses.h"

namespace ds {
namespace {

constexpr double kDeviations = 4;  // a normalised value is seldom further from 0

const Tensor* Floats(const Graph& graph, ValueId id) {
  const Tensor* tensor = id == kNoValue ? nullptr : graph.Constant(id);
  return tensor != nullptr && tensor->dtype() == DType::kFloat32 ? tensor : nullptr;
}

// A matrix whose inputs are the norm's channels.
struct Reader {
  ValueId weight = kNoValue;
  bool transposed = false;  // stored [outputs, inputs]
  int64_t inputs = 0, outputs = 0;

  size_t Index(int64_t i, int64_t o) const {
    return static_cast<size_t>(transposed ? o * inputs + i : i * outputs + o);
  }
};

class Migration {
 public:
  explicit Migration(Graph& graph) : graph_(graph), uses_(graph) {}

  std::vector<MigratedNorm> Run() {
    std::vector<MigratedNorm> migrated;
    for (const Node& node : graph_.nodes()) {
      if (node.op != "LayerNormalization") continue;
      const Tensor* gamma = OwnConstant(node.inputs[1]);
      const bool has_beta = node.inputs.size() > 2 && node.inputs[2] != kNoValue;
      const Tensor* beta = has_beta ? OwnConstant(node.inputs[2]) : nullptr;
      if (gamma == nullptr || gamma->rank() != 1 || (has_beta && beta == nullptr)) continue;
      readers_.clear();
      if (!CollectReaders(node.outputs[0], gamma->dim(0)) || readers_.empty()) continue;
      const std::vector<double> scales = Scales(*gamma, beta);
      Apply(node, has_beta, scales);
      migrated.push_back({node.name, Spread(scales)});
    }
    return migrated;
  }

 private:
  const Tensor* OwnConstant(ValueId id) const {
    return id != kNoValue && uses_.Count(id) == 1 ? Floats(graph_, id) : nullptr;
  }

  // False where something else reads the value too.
  bool CollectReaders(ValueId id, int64_t channels) {
    const std::vector<int> consumers = graph_.Consumers(id);
    if (static_cast<int>(consumers.size()) != uses_.Count(id)) return false;  // an output
    for (const int index : consumers) {
      const Node& node = graph_.nodes()[static_cast<size_t>(index)];
      if (node.inputs[0] != id) return false;
      const auto& shape = graph_.value(node.outputs[0]).shape;
      const bool reshapes =
          node.op == "Reshape" && shape.has_value() && !shape->empty() && shape->back() == channels;
      if (reshapes) {
        if (!CollectReaders(node.outputs[0], channels)) return false;
        continue;
      }
      const auto reader = ReaderOf(node, channels);
      if (!reader) return false;
      readers_.push_back(*reader);
    }
    return true;
  }

  std::optional<Reader> ReaderOf(const Node& node, int64_t channels) const {
    const bool gemm = node.op == "Gemm" && node.GetInt("transA", 0) == 0;
    if (!gemm && node.op != "MatMul") return std::nullopt;
    const Tensor* weight = OwnConstant(node.inputs[1]);
    if (weight == nullptr || weight->rank() != 2) return std::nullopt;
    Reader reader{.weight = node.inputs[1], .transposed = node.GetInt("transB", 0) != 0};
    reader.inputs = weight->dim(reader.transposed ? 1 : 0);
    reader.outputs = weight->dim(reader.transposed ? 0 : 1);
    return reader.inputs == channels ? std::optional(reader) : std::nullopt;
  }

  std::vector<double> Scales(const Tensor& gamma, const Tensor* beta) const {
    std::vector<double> scales(static_cast<size_t>(gamma.dim(0)), 1.0);
    for (size_t j = 0; j < scales.size(); ++j) {
      const double offset = beta == nullptr ? 0.0 : beta->span<float>()[j];
      const double range = std::abs(offset) + kDeviations * std::abs(gamma.span<float>()[j]);
      double row = 0;
      for (const Reader& reader : readers_) {
        const auto weight = graph_.Constant(reader.weight)->span<float>();
        for (int64_t o = 0; o < reader.outputs; ++o) {
          row = std::max(row, std::abs(double{weight[reader.Index(static_cast<int64_t>(j), o)]}));
        }
      }
      const double scale = row > 0 ? std::sqrt(range / row) : 0;
      if (scale > 0 && std::isfinite(scale)) scales[j] = scale;
    }
    return scales;
  }

  static double Spread(std::vector<double> scales) {
    std::sort(scales.begin(), scales.end());
    const double middle = scales[scales.size() / 2];
    return std::max(scales.back() / middle, middle / scales.front());
  }

  template <typename Change>  // of all elements
  void Rewrite(ValueId id, Change change) {
    Tensor& tensor = graph_.mutable_initializers().at(id).data;
    tensor = tensor.Clone();  // copies of the graph share the old bytes
    const absl::Span<float> values = tensor.mutable_span<float>();
    change(values);
  }

  void Apply(const Node& norm, bool has_beta, const std::vector<double>& scales) {
    const auto divide = [&scales](absl::Span<float> values) {
      for (size_t j = 0; j < scales.size(); ++j) {
        values[j] = static_cast<float>(values[j] / scales[j]);
      }
    };
    Rewrite(norm.inputs[1], divide);
    if (has_beta) Rewrite(norm.inputs[2], divide);
    for (const Reader& reader : readers_) {
      Rewrite(reader.weight, [&](absl::Span<float> values) {
        for (int64_t j = 0; j < reader.inputs; ++j) {
          for (int64_t o = 0; o < reader.outputs; ++o) {
            float& value = values[reader.Index(j, o)];
            value = static_cast<float>(value * scales[static_cast<size_t>(j)]);
          }
        }
      });
    }
  }

  Graph& graph_;
  const Uses uses_;
  std::vector<Reader> readers_;  // of the norm at hand
};

}  // namespace

std::vector<MigratedNorm> MigrateNorms(Graph& graph) { return Migration(graph).Run(); }

double NormSpread(const Graph& graph) {
  Graph copy = graph;
  double spread = 1;
  for (const MigratedNorm& norm : MigrateNorms(copy)) spread = std::max(spread, norm.spread);
  return spread;
}

}  // namespace ds
