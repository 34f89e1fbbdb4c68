#include "deploy/engine/compile/lower/unary.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "deploy/engine/runtime/steps/general/functions.h"

namespace ds::engine::compile {

uint8_t CodeOf(float real, const CodeScale& scale) {
  const float code = std::nearbyint(real / scale.scale) + static_cast<float>(scale.zero);
  return code > 0 ? static_cast<uint8_t>(std::min(code, 255.0f)) : 0;  // not a number: 0
}

namespace {

using Function = double (*)(const Node&, double);

double HardSigmoid(const Node& node, double x) {
  return std::clamp(node.GetFloat("alpha", 0.2f) * x + node.GetFloat("beta", 0.5f), 0.0, 1.0);
}

double Gelu(const Node& node, double x) {
  if (node.GetString("approximate", "none") == "tanh") {
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  }
  return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
}

double Elu(const Node& node, double x) {
  return x > 0 ? x : node.GetFloat("alpha", 1.0f) * std::expm1(x);
}

double LeakyRelu(const Node& node, double x) {
  return x > 0 ? x : node.GetFloat("alpha", 0.01f) * x;
}

struct Named {
  std::string_view op;
  Function function;
};
constexpr Named kFunctions[] = {
    {"Abs", [](const Node&, double x) { return std::fabs(x); }},
    {"Elu", Elu},
    {"Erf", [](const Node&, double x) { return std::erf(x); }},
    {"Exp", [](const Node&, double x) { return std::exp(x); }},
    {"Gelu", Gelu},
    {"HardSigmoid", HardSigmoid},
    {"HardSwish", [](const Node&, double x) { return x * std::clamp(x / 6 + 0.5, 0.0, 1.0); }},
    {"Identity", [](const Node&, double x) { return x; }},
    {"LeakyRelu", LeakyRelu},
    {"Log", [](const Node&, double x) { return std::log(x); }},
    {"Mish", [](const Node&, double x) { return x * std::tanh(std::log1p(std::exp(x))); }},
    {"Neg", [](const Node&, double x) { return -x; }},
    {"Reciprocal", [](const Node&, double x) { return 1 / x; }},
    {"Relu", [](const Node&, double x) { return std::max(x, 0.0); }},
    {"SiLU", [](const Node&, double x) { return x / (1 + std::exp(-x)); }},
    {"Sigmoid", [](const Node&, double x) { return 1 / (1 + std::exp(-x)); }},
    {"Softplus", [](const Node&, double x) { return std::log1p(std::exp(x)); }},
    {"Sqrt", [](const Node&, double x) { return std::sqrt(x); }},
    {"Tanh", [](const Node&, double x) { return std::tanh(x); }},
};

Function FunctionOf(const Node& node) {
  for (const Named& named : kFunctions) {
    if (named.op == node.op) return named.function;
  }
  return nullptr;
}

float Combine(std::string_view op, float a, float b) {
  if (op == "Add") return a + b;
  if (op == "Sub") return a - b;
  if (op == "Mul") return a * b;
  if (op == "Div") return a / b;
  if (op == "Min") return std::min(a, b);
  if (op == "Max") return std::max(a, b);
  return std::pow(a, b);
}

struct Plain {
  std::string_view op;
  file::UnaryWay way;
};
constexpr Plain kPlain[] = {
    {"Abs", file::UnaryWay::kAbs},           {"Acos", file::UnaryWay::kAcos},
    {"Acosh", file::UnaryWay::kAcosh},       {"Asin", file::UnaryWay::kAsin},
    {"Asinh", file::UnaryWay::kAsinh},       {"Atan", file::UnaryWay::kAtan},
    {"Atanh", file::UnaryWay::kAtanh},       {"BitwiseNot", file::UnaryWay::kNot},
    {"Ceil", file::UnaryWay::kCeil},         {"Cos", file::UnaryWay::kCos},
    {"Cosh", file::UnaryWay::kCosh},         {"Erf", file::UnaryWay::kErf},
    {"Exp", file::UnaryWay::kExp},           {"Floor", file::UnaryWay::kFloor},
    {"IsNaN", file::UnaryWay::kIsNan},       {"Log", file::UnaryWay::kLog},
    {"Mish", file::UnaryWay::kMish},         {"Neg", file::UnaryWay::kNegate},
    {"Not", file::UnaryWay::kNot},           {"Reciprocal", file::UnaryWay::kReciprocal},
    {"Round", file::UnaryWay::kRound},       {"Sign", file::UnaryWay::kSign},
    {"Sin", file::UnaryWay::kSin},           {"Sinh", file::UnaryWay::kSinh},
    {"Softplus", file::UnaryWay::kSoftplus}, {"Softsign", file::UnaryWay::kSoftsign},
    {"Sqrt", file::UnaryWay::kSqrt},         {"Tan", file::UnaryWay::kTan},
};

std::string Told(const std::string& before, const Node& node) {
  return before.empty() ? "table of " + node.op : before + ", " + node.op;
}

}  // namespace

bool IsUnary(const Graph& graph, const Node& node) {
  return node.op == "Clip" || FunctionOf(node) != nullptr || UnaryOf(graph, node).has_value();
}

std::optional<file::UnaryParameters> UnaryOf(const Graph& graph, const Node& node) {
  using file::UnaryWay;
  const auto made = [](UnaryWay way, float a = 0, float b = 0) {
    return file::UnaryParameters{static_cast<uint32_t>(way), a, b};
  };
  const auto number = [&](const char* key, float fallback) { return node.GetFloat(key, fallback); };
  for (const Plain& plain : kPlain) {
    if (plain.op == node.op) return made(plain.way);
  }
  if (node.op == "Elu") return made(UnaryWay::kElu, number("alpha", 1));
  if (node.op == "Celu") return made(UnaryWay::kCelu, number("alpha", 1));
  if (node.op == "Selu") {
    return made(UnaryWay::kSelu, number("alpha", 1.67326319217681884765625f),
                number("gamma", 1.05070102214813232421875f));
  }
  if (node.op == "LeakyRelu") return made(UnaryWay::kLeakyRelu, number("alpha", 0.01f));
  if (node.op == "ThresholdedRelu") return made(UnaryWay::kThresholdedRelu, number("alpha", 1));
  if (node.op == "HardSigmoid") {
    return made(UnaryWay::kHardSigmoid, number("alpha", 0.2f), number("beta", 0.5f));
  }
  if (node.op == "Shrink") return made(UnaryWay::kShrink, number("lambd", 0.5f), number("bias", 0));
  if (node.op == "Gelu" && node.GetString("approximate", "none") == "tanh") {
    return made(UnaryWay::kGeluTanh);
  }
  if (node.op == "IsInf") {
    return made(UnaryWay::kIsInf, node.GetInt("detect_negative", 1) != 0,
                node.GetInt("detect_positive", 1) != 0);
  }
  if (node.op == "Pow") {
    const Tensor* power = graph.Constant(node.inputs[1]);
    const bool one = power != nullptr && power->dtype() == DType::kFloat32 &&
                     power->num_elements() == 1 &&
                     graph.value(node.inputs[0]).dtype == DType::kFloat32 &&
                     graph.value(node.inputs[0]).shape == graph.value(node.outputs[0]).shape;
    if (one) return made(UnaryWay::kPower, power->span<float>()[0]);
  }
  return std::nullopt;
}

bool IsArithmetic(const Node& node) {
  return (node.op == "Add" || node.op == "Sub" || node.op == "Mul" || node.op == "Div" ||
          node.op == "Min" || node.op == "Max" || node.op == "Pow") &&
         node.inputs.size() == 2;
}

std::optional<float> ApplyUnary(const Graph& graph, const Node& node, float x) {
  if (node.op != "Clip") {
    const Function function = FunctionOf(node);
    if (function != nullptr) return static_cast<float>(function(node, x));
    const auto other = UnaryOf(graph, node);
    std::optional<float> y;
    if (other) {
      WithFunction(static_cast<file::UnaryWay>(other->way), other->a, other->b,
                   [&](auto apply) { y = apply(x); });
    }
    return y;
  }
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (node.inputs[i] == kNoValue) continue;
    const Tensor* bound = graph.Constant(node.inputs[i]);
    if (bound == nullptr || bound->dtype() != DType::kFloat32 || bound->num_elements() != 1) {
      return std::nullopt;
    }
    const float value = bound->span<float>()[0];
    x = i == 1 ? std::max(x, value) : std::min(x, value);
  }
  return x;
}

const Unary* UnaryFinder::Find(ValueId id) {
  const auto known = found_.find(id);
  if (known != found_.end()) return known->second ? &*known->second : nullptr;
  // std::map: what Make() adds leaves the others where they are.
  const auto& made = found_[id] = Make(id);
  return made ? &*made : nullptr;
}

std::optional<Unary> UnaryFinder::Make(ValueId id) {
  const Node* node = makers_.Of(id);
  if (node == nullptr || node->outputs.size() != 1) return std::nullopt;
  if (node->op == "DequantizeLinear") return Dequantised(*node);
  return Applied(*node);
}

std::optional<Unary> UnaryFinder::Dequantised(const Node& node) {
  const ValueId codes = node.inputs[0];
  const auto scale = ScaleOf(graph_, makers_, node);
  if (!scale || graph_.IsInitializer(codes)) return std::nullopt;
  Unary result{.root = codes};
  const Node* maker = makers_.Of(codes);
  const Unary* deeper = nullptr;
  std::optional<CodeScale> stored;
  if (chains_ && maker != nullptr && maker->op == "QuantizeLinear") {
    stored = ScaleOf(graph_, makers_, *maker);
    if (stored) deeper = Find(maker->inputs[0]);
  }
  if (deeper != nullptr) {
    result.root = deeper->root;
    result.story = deeper->story;
  }
  for (int i = 0; i < 256; ++i) {
    result.real[i] = RealOf(deeper ? CodeOf(deeper->real[i], *stored) : i, *scale);
  }
  return result;
}

std::optional<float> UnaryFinder::ScalarConstant(ValueId id, ValueId result) const {
  const auto constant = ConstantFloats(graph_, makers_, id);
  if (!constant || constant->num_elements() != 1) return std::nullopt;
  const auto& shape = graph_.value(result).shape;
  if (!shape || constant->shape().size() > shape->size()) return std::nullopt;
  return constant->span<float>()[0];
}

std::optional<Unary> UnaryFinder::Applied(const Node& node) {
  if (IsUnary(graph_, node)) {
    const Unary* from = Find(node.inputs[0]);
    if (from == nullptr) return std::nullopt;
    Unary result{.root = from->root, .story = Told(from->story, node)};
    for (int i = 0; i < 256; ++i) {
      const auto y = ApplyUnary(graph_, node, from->real[i]);
      if (!y) return std::nullopt;
      result.real[i] = *y;
    }
    return result;
  }
  if (!IsArithmetic(node)) return std::nullopt;
  const Unary* a = Find(node.inputs[0]);
  const Unary* b = Find(node.inputs[1]);
  if ((a == nullptr && b == nullptr) || (a && b && a->root != b->root)) return std::nullopt;
  // A node of two codes, by itself, is arithmetic of codes.
  if (a && b && !chains_ && node.inputs[0] != node.inputs[1]) return std::nullopt;
  const auto constant =
      a && b ? std::optional(0.0f) : ScalarConstant(node.inputs[a ? 1 : 0], node.outputs[0]);
  if (!constant) return std::nullopt;
  // The other operand may have had fewer elements.
  if (graph_.value(node.inputs[a ? 0 : 1]).shape != graph_.value(node.outputs[0]).shape) {
    return std::nullopt;
  }
  // Where both are functions of the code, the longer one has gone through more.
  const bool tell_b = a == nullptr || (b != nullptr && b->story.size() > a->story.size());
  Unary result{.root = a ? a->root : b->root, .story = Told(tell_b ? b->story : a->story, node)};
  for (int i = 0; i < 256; ++i) {
    result.real[i] = Combine(node.op, a ? a->real[i] : *constant, b ? b->real[i] : *constant);
  }
  return result;
}

}  // namespace ds::engine::compile
