// Functions of one number, shared by the runtime's steps and the compiler's tables.
#pragma once

#include <algorithm>
#include <cmath>

#include "deploy/engine/runtime/general.h"

namespace ds::engine {

// Calls `use` with the function that `way` is, so that a loop over elements has it inlined. False
// for a way that is none from float to float.
template <typename Use>
bool WithFunction(file::UnaryWay way, float a, float b, Use use) {
  using file::UnaryWay;
  switch (way) {
    case UnaryWay::kAbs:
      return use([](float x) { return std::fabs(x); }), true;
    case UnaryWay::kNegate:
      return use([](float x) { return -x; }), true;
    case UnaryWay::kSign:
      return use([](float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : x; }), true;
    case UnaryWay::kSqrt:
      return use([](float x) { return std::sqrt(x); }), true;
    case UnaryWay::kReciprocal:
      return use([](float x) { return 1 / x; }), true;
    case UnaryWay::kExp:
      return use([](float x) { return std::exp(x); }), true;
    case UnaryWay::kLog:
      return use([](float x) { return std::log(x); }), true;
    case UnaryWay::kErf:
      return use([](float x) { return std::erf(x); }), true;
    case UnaryWay::kSin:
      return use([](float x) { return std::sin(x); }), true;
    case UnaryWay::kCos:
      return use([](float x) { return std::cos(x); }), true;
    case UnaryWay::kTan:
      return use([](float x) { return std::tan(x); }), true;
    case UnaryWay::kAsin:
      return use([](float x) { return std::asin(x); }), true;
    case UnaryWay::kAcos:
      return use([](float x) { return std::acos(x); }), true;
    case UnaryWay::kAtan:
      return use([](float x) { return std::atan(x); }), true;
    case UnaryWay::kSinh:
      return use([](float x) { return std::sinh(x); }), true;
    case UnaryWay::kCosh:
      return use([](float x) { return std::cosh(x); }), true;
    case UnaryWay::kTanh:
      return use([](float x) { return std::tanh(x); }), true;
    case UnaryWay::kAsinh:
      return use([](float x) { return std::asinh(x); }), true;
    case UnaryWay::kAcosh:
      return use([](float x) { return std::acosh(x); }), true;
    case UnaryWay::kAtanh:
      return use([](float x) { return std::atanh(x); }), true;
    case UnaryWay::kRound:
      return use([](float x) { return std::nearbyint(x); }), true;
    case UnaryWay::kFloor:
      return use([](float x) { return std::floor(x); }), true;
    case UnaryWay::kCeil:
      return use([](float x) { return std::ceil(x); }), true;
    case UnaryWay::kSigmoid:
      return use([](float x) { return 1 / (1 + std::exp(-x)); }), true;
    case UnaryWay::kSoftplus:
      return use([](float x) { return std::max(x, 0.0f) + std::log1p(std::exp(-std::fabs(x))); }),
             true;
    case UnaryWay::kSoftsign:
      return use([](float x) { return x / (1 + std::fabs(x)); }), true;
    case UnaryWay::kMish:
      return use([](float x) {
               const float plus = std::max(x, 0.0f) + std::log1p(std::exp(-std::fabs(x)));
               return x * std::tanh(plus);
             }),
             true;
    case UnaryWay::kElu:
      return use([a](float x) { return x < 0 ? a * std::expm1(x) : x; }), true;
    case UnaryWay::kCelu:
      return use([a](float x) { return x < 0 ? a * std::expm1(x / a) : x; }), true;
    case UnaryWay::kSelu:
      return use([a, b](float x) { return b * (x <= 0 ? a * std::expm1(x) : x); }), true;
    case UnaryWay::kLeakyRelu:
      return use([a](float x) { return x < 0 ? a * x : x; }), true;
    case UnaryWay::kThresholdedRelu:
      return use([a](float x) { return x > a ? x : 0.0f; }), true;
    case UnaryWay::kHardSigmoid:
      return use([a, b](float x) { return std::clamp(a * x + b, 0.0f, 1.0f); }), true;
    case UnaryWay::kShrink:
      return use([a, b](float x) { return x < -a ? x + b : x > a ? x - b : 0.0f; }), true;
    case UnaryWay::kGeluTanh:
      return use([](float x) {
               const float inner = 0.7978845608f * (x + 0.044715f * x * x * x);
               return 0.5f * x * (1 + std::tanh(inner));
             }),
             true;
    case UnaryWay::kPower:
      return use([a](float x) { return std::pow(x, a); }), true;
    case UnaryWay::kScale:
      return use([a, b](float x) { return a * x + b; }), true;
    case UnaryWay::kNot:
    case UnaryWay::kIsNan:
    case UnaryWay::kIsInf:
    case UnaryWay::kIsNonzero:
      break;
  }
  return false;
}

}  // namespace ds::engine
