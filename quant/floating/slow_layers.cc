#include "quant/floating/slow_layers.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "graph/cost.h"
#include "quant/floating/plan_cutter.h"

namespace ds {
namespace {

// Microseconds in ONNX Runtime 1.32, one core of a Xeon with AVX-512 VNNI (docs/quantization.md,
// "What integers make slower"): fitted to profiles of the packages' networks.
constexpr double kRound = 1.3, kRoundElement = 0.22e-3;  // QuantizeLinear
constexpr double kScale = 1.0, kScaleElement = 0.15e-3;  // DequantizeLinear
constexpr double kPoolElement = 5.8e-3;                  // an integer MaxPool, channels first
// A multiplication and addition,
constexpr double kFloatProduct = 17e-6;
constexpr double kWaitingProduct = 36e-6;                // of one row, which waits for its weights
constexpr double kIntegerProduct = 5e-6, kShallow = 18;  // twice as long at 18 input channels
constexpr int64_t kVector = 16;  // output channels that are computed at once
// of a depthwise convolution of more taps than its fast kernel has.
constexpr int64_t kFastTaps = 9;
constexpr double kTapsProduct = 80e-6;
// Integers take a quarter of the bytes: they go where they lose for certain.
constexpr double kDoubt = 1.1;

class Islands {
 public:
  Islands(const Graph& graph, const QuantSelection& selection, const QuantPlan& plan)
      : graph_(graph),
        selection_(selection),
        plan_(plan),
        cutter_(graph, selection),
        integers_(IntegerNodes()),
        roots_(graph.values().size()) {
    std::iota(roots_.begin(), roots_.end(), 0);
    for (const SharedSite& shared : selection.shared) Join(shared.value, shared.source);
    for (const int n : integers_) {
      const std::vector<ValueId> values = ValuesOf(n);
      for (const ValueId id : values) Join(values[0], id);
    }
  }

  SlowLayers TakeOut() const {
    std::map<ValueId, Time> times;  // by root
    for (const int n : integers_) {
      if (ValuesOf(n).empty()) continue;
      Time& all = times[Root(ValuesOf(n)[0])];
      const Time one = TimeOf(Node(n));
      all.in_float += one.in_float;
      all.as_integers += one.as_integers;
    }
    for (const ActivationSite& site : selection_.activations) {
      if (IsRounded(site.value)) times[Root(site.value)].as_integers += Conversions(site.value);
    }
    const auto is_slow = [&](ValueId id) {
      const Time& time = times[Root(id)];
      return time.as_integers > kDoubt * time.in_float;
    };
    std::set<ValueId> slow;
    for (const ActivationSite& site : selection_.activations) {
      if (IsRounded(site.value) && is_slow(site.value)) slow.insert(site.value);
    }
    SlowLayers result{.plan = cutter_.Without(plan_, slow)};
    for (const int n : integers_) {
      if (!ValuesOf(n).empty() && is_slow(ValuesOf(n)[0])) result.nodes.push_back(n);
    }
    for (const auto& [root, time] : times) {
      if (is_slow(root)) result.saved_us += time.as_integers - time.in_float;
    }
    return result;
  }

 private:
  // Those that ONNX Runtime has integer kernels for.
  std::set<int> IntegerNodes() const {
    static constexpr const char* kOps[] = {
        "Conv",      "Gemm",    "MatMul",    "Add",         "Mul",
        "Concat",    "Sigmoid", "LeakyRelu", "HardSigmoid", "GlobalAveragePool",
        "ReduceMean"};
    std::set<int> nodes = cutter_.IntegerNodes(plan_);
    std::erase_if(nodes, [this](int n) {
      return std::ranges::none_of(kOps, [&](const char* op) { return Node(n).op == op; });
    });
    return nodes;
  }

  const ds::Node& Node(int n) const { return graph_.nodes()[static_cast<size_t>(n)]; }

  bool IsRounded(ValueId id) const { return plan_.activations.contains(graph_.value(id).name); }

  // The rounded values that a node reads or makes.
  std::vector<ValueId> ValuesOf(int n) const {
    std::vector<ValueId> values;
    for (const ValueId id : Node(n).inputs) {
      if (id != kNoValue && IsRounded(id)) values.push_back(id);
    }
    const ValueId result = cutter_.IntegerResult(Node(n), plan_);
    if (result != kNoValue) values.push_back(result);
    return values;
  }

  ValueId Root(ValueId id) const {
    while (roots_[static_cast<size_t>(id)] != id) id = roots_[static_cast<size_t>(id)];
    return id;
  }

  void Join(ValueId a, ValueId b) { roots_[static_cast<size_t>(Root(a))] = Root(b); }

  std::optional<int64_t> Elements(ValueId id) const {
    const std::optional<Shape>& shape = graph_.value(id).shape;
    if (!shape || std::ranges::count(*shape, kDynamicDim) > 0) return std::nullopt;
    const absl::StatusOr<int64_t> count = NumElements(*shape);
    return count.ok() ? std::optional(*count) : std::nullopt;
  }

  struct Time {
    double in_float = 0, as_integers = 0;
  };

  // Of a product; integers take none where nobody knows.
  Time TimeOf(const ds::Node& node) const {
    if (node.op != "Conv" && node.op != "Gemm" && node.op != "MatMul") return {};
    if (!Elements(node.outputs[0]) || !Elements(node.inputs[0])) return {HUGE_VAL, 0};
    const auto macs = static_cast<double>(CostOf(graph_, node).macs);
    if (node.op == "Conv") return TimeOfConv(node, macs);
    const int64_t width = graph_.value(node.inputs[0]).shape->back();
    const bool one_row = *Elements(node.inputs[0]) == width;
    return {macs * (one_row ? kWaitingProduct : kFloatProduct), macs * kIntegerProduct};
  }

  Time TimeOfConv(const ds::Node& node, double macs) const {
    const Tensor* weight = graph_.Constant(node.inputs[1]);
    if (weight == nullptr || weight->rank() == 3)
      return {HUGE_VAL, 0};  // of one dimension: no figures
    const auto in = static_cast<double>(weight->dim(1)), out = static_cast<double>(weight->dim(0));
    if (weight->dim(1) == 1 && node.GetInt("group", 1) > 1) {
      const bool large = weight->num_elements() > kFastTaps * weight->dim(0);
      return {macs * kFloatProduct, macs * (large ? kTapsProduct : kFloatProduct)};
    }
    const double full = std::ceil(out / kVector) * kVector / out;
    return {macs * full * kFloatProduct, macs * full * kIntegerProduct * (1 + kShallow / in)};
  }

  // Of a rounded value and what only moves its numbers: from float, where no integers make it, and
  // to float, where others than integers want it.
  double Conversions(ValueId id) const {
    const std::optional<int64_t> elements = Elements(id);
    if (!elements) return 0;
    const auto count = static_cast<double>(*elements);
    double us = 0;
    const bool made = std::ranges::any_of(
        integers_, [&](int n) { return cutter_.IntegerResult(Node(n), plan_) == id; });
    if (!made) us += kRound + kRoundElement * count;
    if (IsReadInFloat(id)) us += kScale + kScaleElement * count;
    if (!made && IsPooledChannelsFirst(id)) us += kPoolElement * count;
    return us;
  }

  // Behind a float convolution channels come before pixels, and an integer pool there takes 40
  // times as long as a float one. (To round behind the pool does not help: ONNX Runtime moves it
  // forward.)
  bool IsPooledChannelsFirst(ValueId id) const {
    const std::vector<int> readers = graph_.Consumers(id);
    const bool pooled =
        std::ranges::any_of(readers, [&](int n) { return Node(n).op == "MaxPool"; });
    return pooled && IsBehindFloatConv(id);
  }

  bool IsBehindFloatConv(ValueId id) const {
    for (int n = graph_.Producer(id); n >= 0; n = graph_.Producer(Node(n).inputs[0])) {
      if (Node(n).op == "Conv") return !integers_.contains(n);
      if (Node(n).inputs.empty() || Node(n).inputs[0] == kNoValue) return false;
    }
    return false;
  }

  bool IsReadInFloat(ValueId id) const {
    for (const ValueId value : cutter_.Moved(id)) {
      if (std::ranges::count(graph_.outputs(), value) > 0) return true;
      for (const int n : graph_.Consumers(value)) {
        const bool moves = HandsOnValues(Node(n)) && IsRounded(Node(n).outputs[0]);
        if (!moves && !integers_.contains(n)) return true;
      }
    }
    return false;
  }

  const Graph& graph_;
  const QuantSelection& selection_;
  const QuantPlan& plan_;
  const PlanCutter cutter_;
  const std::set<int> integers_;
  std::vector<ValueId> roots_;
};

}  // namespace

SlowLayers TakeOutSlowLayers(const Graph& graph, const QuantSelection& selection,
                             const QuantPlan& plan) {
  SlowLayers all{.plan = plan};
  while (true) {  // what is left may have lost what made it worth while
    SlowLayers slow = Islands(graph, selection, all.plan).TakeOut();
    if (slow.nodes.empty()) break;
    all.plan = std::move(slow.plan);
    all.nodes.insert(all.nodes.end(), slow.nodes.begin(), slow.nodes.end());
    all.saved_us += slow.saved_us;
  }
  std::ranges::sort(all.nodes);
  return all;
}

}  // namespace ds
