// One element at a time: functions of floats, signs of integers, tests, and types converted.
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <type_traits>

#include "deploy/engine/runtime/steps/general/dense.h"
#include "deploy/engine/runtime/steps/general/functions.h"
#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/window.h"

namespace ds::engine {
namespace {

using file::Type;
using file::UnaryWay;

template <typename In, typename Out, typename Function>
std::unique_ptr<Step> Each(const Binding& binding, Function function) {
  const int64_t count = Elements(binding.output());
  const In* from = ReadAs<In>(binding, 0);
  Out* to = WriteAs<Out>(binding);
  return MakeWork(Blocks(count), count, [=](Range units, void*) {
    const Span span = BlockElements(units, count);
    for (int64_t i = span.begin; i < span.end; ++i) to[i] = static_cast<Out>(function(from[i]));
  });
}

// Wraps at the least number.
template <typename T>
T Negated(T x) {
  return static_cast<T>(0 - static_cast<std::make_unsigned_t<T>>(x));
}

template <typename T>
std::unique_ptr<Step> OfIntegers(const Binding& binding, UnaryWay way) {
  switch (way) {
    case UnaryWay::kAbs:
      return Each<T, T>(binding, [](T x) { return x < 0 ? Negated(x) : x; });
    case UnaryWay::kNegate:
      return Each<T, T>(binding, Negated<T>);
    case UnaryWay::kSign:
      return Each<T, T>(binding, [](T x) { return static_cast<T>((x > 0) - (x < 0)); });
    case UnaryWay::kNot:
      return Each<T, T>(binding, [](T x) { return static_cast<T>(~x); });
    default:
      return nullptr;
  }
}

std::unique_ptr<Step> Test(const Binding& binding, const file::UnaryParameters& parameters) {
  const float a = parameters.a, b = parameters.b;
  std::unique_ptr<Step> step;
  switch (static_cast<UnaryWay>(parameters.way)) {
    case UnaryWay::kIsNan:
      if (!Is(binding.input(0), Type::kFloat32)) return nullptr;
      return Each<float, uint8_t>(binding, [](float x) { return x != x; });
    case UnaryWay::kIsInf:
      if (!Is(binding.input(0), Type::kFloat32)) return nullptr;
      return Each<float, uint8_t>(binding, [a, b](float x) {
        return (a != 0 && x == -INFINITY) || (b != 0 && x == INFINITY);
      });
    case UnaryWay::kIsNonzero:
      WithNumber(binding.input(0).type, [&]<typename T>(T) {
        step = Each<T, uint8_t>(binding, [](T x) { return x != 0; });
      });
      return step;
    case UnaryWay::kNot:
      if (!Is(binding.input(0), Type::kBool)) return nullptr;
      return Each<uint8_t, uint8_t>(binding, [](uint8_t x) { return x == 0; });
    default:
      return nullptr;
  }
}

template <typename Out, typename In>
Out Converted(In x) {
  if constexpr (std::is_floating_point_v<In> && std::is_integral_v<Out>) {
    if (x != x) return 0;
    // The nearest floats that do convert; those beyond are of the range's ends.
    constexpr auto kLow = static_cast<double>(std::numeric_limits<Out>::min());
    constexpr auto kHigh = static_cast<double>(std::numeric_limits<Out>::max());
    const auto wide = static_cast<double>(x);
    if (wide <= kLow) return std::numeric_limits<Out>::min();
    if (wide >= kHigh) return std::numeric_limits<Out>::max();
  }
  return static_cast<Out>(x);
}

template <typename Use>
bool WithElement(uint8_t type, Use use) {
  switch (static_cast<Type>(type)) {
    case Type::kUint8:
      return use(uint8_t{}), true;
    case Type::kInt8:
      return use(int8_t{}), true;
    case Type::kBool:
      return use(bool{}), true;
    default:
      return WithNumber(type, use);
  }
}

}  // namespace

Status MakeUnary(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::UnaryParameters* parameters = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  DS_ENGINE_RETURN_IF_ERROR(CheckDense(binding, 1));
  const file::Tensor &in = binding.input(0), &out = binding.output();
  if (!SameDims(in, out)) return binding.Error("has an input of other dims than its output's");
  const auto way = static_cast<UnaryWay>(parameters->way);
  if (Is(out, Type::kBool)) {
    step = Test(binding, *parameters);
  } else if (in.type == out.type && Is(in, Type::kFloat32)) {
    WithFunction(way, parameters->a, parameters->b,
                 [&](auto function) { step = Each<float, float>(binding, function); });
  } else if (in.type == out.type) {
    if (Is(in, Type::kInt32)) step = OfIntegers<int32_t>(binding, way);
    if (Is(in, Type::kInt64)) step = OfIntegers<int64_t>(binding, way);
  }
  return step ? Status() : binding.Error("has no such function of its types");
}

Status MakeCast(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::CastParameters* parameters = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, parameters->moved));
  DS_ENGINE_RETURN_IF_ERROR(CheckDense(binding, 1));
  const file::Tensor &in = binding.input(0), &out = binding.output();
  if (!SameDims(in, out)) return binding.Error("has an input of other dims than its output's");
  if (parameters->moved) {
    const bool bytes = (Is(in, Type::kUint8) && Is(out, Type::kInt8)) ||
                       (Is(in, Type::kInt8) && Is(out, Type::kUint8));
    if (!bytes) return binding.Error("moves what are no bytes of unlike sign");
    step = Each<uint8_t, uint8_t>(binding, [](uint8_t x) { return x ^ 0x80; });
    return {};
  }
  WithElement(in.type, [&]<typename In>(In) {
    WithElement(out.type, [&]<typename Out>(Out) {
      if constexpr (std::is_same_v<In, bool>) {
        // Whatever byte stands there.
        step = Each<uint8_t, Out>(binding, [](uint8_t x) { return x != 0 ? 1 : 0; });
      } else if constexpr (std::is_same_v<Out, bool>) {
        step = Each<In, uint8_t>(binding, [](In x) { return x != 0; });
      } else {
        step = Each<In, Out>(binding, Converted<Out, In>);
      }
    });
  });
  return step ? Status() : binding.Error("is between types that version 1 does not have");
}

}  // namespace ds::engine
