#include "graph/schema/known_logic.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "graph/schema/internal.h"

namespace ds {

namespace {

using Ints = std::vector<int64_t>;
using MaybeInts = std::optional<Ints>;

bool IsKnown(int64_t x) { return x >= kFirstKnownInt; }

bool IsMark(int64_t x) { return !IsKnown(x) && x != kUnknownInt; }

// A mark stands for an extent, which is never negative.
int64_t Largest(int64_t a, int64_t b) {
  if (a == b) return a;
  if (IsKnown(a) && IsKnown(b)) return std::max(a, b);
  if (IsMark(a) && IsKnown(b) && b <= 0) return a;
  if (IsMark(b) && IsKnown(a) && a <= 0) return b;
  return kUnknownInt;
}

int64_t Smallest(int64_t a, int64_t b) {
  if (a == b) return a;
  if (IsKnown(a) && IsKnown(b)) return std::min(a, b);
  if (IsMark(a) && IsKnown(b) && b <= 0) return b;
  if (IsMark(b) && IsKnown(a) && a <= 0) return a;
  return kUnknownInt;
}

// a < b as far as it is known.
int64_t IsLess(int64_t a, int64_t b) {
  if (IsKnown(a) && IsKnown(b)) return a < b;
  if (a == b && IsMark(a)) return 0;
  if (IsKnown(a) && a < 0 && IsMark(b)) return 1;
  if (IsMark(a) && IsKnown(b) && b <= 0) return 0;
  return kUnknownInt;
}

int64_t Negated(int64_t truth) { return IsKnown(truth) ? truth == 0 : kUnknownInt; }

int64_t Modulo(int64_t a, int64_t b, bool as_in_c) {
  if (!IsKnown(a) || !IsKnown(b) || b == 0 || b == -1) return b == -1 || b == 1 ? 0 : kUnknownInt;
  const int64_t rest = a % b;
  return !as_in_c && rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

// One operator of two operands.
int64_t Apply(const std::string& op, int64_t a, int64_t b, bool as_in_c) {
  if (op == "Max") return Largest(a, b);
  if (op == "Min") return Smallest(a, b);
  if (op == "Mod") return Modulo(a, b, as_in_c);
  if (op == "Less") return IsLess(a, b);
  if (op == "Greater") return IsLess(b, a);
  if (op == "LessOrEqual") return Negated(IsLess(b, a));
  if (op == "GreaterOrEqual") return Negated(IsLess(a, b));
  // A known operand may decide alone.
  if (op == "And" && (a == 0 || b == 0)) return 0;
  if (op == "Or" && (a == 1 || b == 1)) return 1;
  if (!IsKnown(a) || !IsKnown(b)) return kUnknownInt;
  if (op == "And") return 1;
  return op == "Or" ? 0 : a != b;  // Xor
}

bool IsBinary(const std::string& op) {
  for (const char* known : {"Max", "Min", "Mod", "Less", "Greater", "LessOrEqual", "GreaterOrEqual",
                            "And", "Or", "Xor"}) {
    if (op == known) return true;
  }
  return false;
}

MaybeInts Fold(const InferenceContext& context, const std::vector<MaybeInts>& operands) {
  const bool as_in_c = context.node.GetInt("fmod", 0) != 0;
  MaybeInts out = operands[0];
  for (size_t i = 1; out && i < operands.size(); ++i) {
    const MaybeInts& next = operands[i];
    if (!next || out->empty() || next->empty()) return std::nullopt;
    if (out->size() != next->size() && out->size() != 1 && next->size() != 1) return std::nullopt;
    Ints both(std::max(out->size(), next->size()));
    for (size_t k = 0; k < both.size(); ++k) {
      both[k] = Apply(context.node.op, (*out)[out->size() == 1 ? 0 : k],
                      (*next)[next->size() == 1 ? 0 : k], as_in_c);
    }
    out = std::move(both);
  }
  return out;
}

MaybeInts Mapped(const MaybeInts& in, int64_t (*function)(int64_t)) {
  if (!in) return std::nullopt;
  Ints out;
  for (const int64_t x : *in) out.push_back(IsKnown(x) ? function(x) : kUnknownInt);
  return out;
}

// A vector reduced to one number.
MaybeInts Reduced(const InferenceContext& context, const MaybeInts& in) {
  const auto shape = context.InputShape(0);
  if (!in || in->empty() || !shape.ok() || shape->size() != 1) return std::nullopt;
  int64_t result = in->front();
  for (size_t i = 1; i < in->size(); ++i) {
    const int64_t x = (*in)[i];
    if (context.node.op == "ReduceMax") {
      result = Largest(result, x);
    } else if (context.node.op == "ReduceMin") {
      result = Smallest(result, x);
    } else if (!IsKnown(result) || !IsKnown(x)) {
      result = context.node.op == "ReduceProd" && (x == 1 || result == 1) ? (x == 1 ? result : x)
                                                                          : kUnknownInt;
    } else {
      const bool overflow = context.node.op == "ReduceProd"
                                ? __builtin_mul_overflow(result, x, &result)
                                : __builtin_add_overflow(result, x, &result);
      if (overflow || !IsKnown(result)) result = kUnknownInt;
    }
  }
  return Ints{result};
}

MaybeInts RangeOf(const std::vector<MaybeInts>& limits) {
  constexpr int64_t kMost = 256;
  for (const MaybeInts& limit : limits) {
    if (!limit || limit->size() != 1 || !IsKnown(limit->front())) return std::nullopt;
  }
  const int64_t start = limits[0]->front();
  const int64_t end = limits[1]->front();
  const int64_t step = limits[2]->front();
  // Numbers of shapes: what is larger cannot be meant, and could overflow.
  const auto far = [](int64_t x) { return std::abs(x) > (int64_t{1} << 40); };
  if (step == 0 || far(start) || far(end) || far(step)) return std::nullopt;
  Ints out;
  for (int64_t x = start; step > 0 ? x < end : x > end; x += step) {
    if (static_cast<int64_t>(out.size()) >= kMost) return std::nullopt;
    out.push_back(x);
  }
  return out;
}

}  // namespace

std::optional<std::vector<int64_t>> EvaluateLogic(
    const InferenceContext& context,
    const std::vector<std::optional<std::vector<int64_t>>>& operands) {
  const std::string& op = context.node.op;
  if (operands.empty()) return std::nullopt;
  if (IsBinary(op)) return Fold(context, operands);
  if (op == "Not") return Mapped(operands[0], [](int64_t x) -> int64_t { return x == 0; });
  if (op == "Neg") return Mapped(operands[0], [](int64_t x) { return -x; });
  if (op == "Abs") return Mapped(operands[0], [](int64_t x) { return std::abs(x); });
  if (op == "Size") {
    const auto shape = context.InputShape(0);
    const auto count = shape.ok() ? schema::KnownProduct(*shape) : std::nullopt;
    return Ints{count.value_or(kUnknownInt)};
  }
  if (op == "ReduceProd" || op == "ReduceSum" || op == "ReduceMax" || op == "ReduceMin") {
    return Reduced(context, operands[0]);
  }
  if (op == "Range" && operands.size() == 3) return RangeOf(operands);
  return std::nullopt;
}

}  // namespace ds
