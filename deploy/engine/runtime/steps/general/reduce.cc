// Over one axis: sums and their like, the place of the greatest, sums so far.
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <type_traits>

#include "deploy/engine/runtime/steps/general/dense.h"
#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/window.h"

namespace ds::engine {
namespace {

using file::ReduceWay;
using file::Type;

constexpr int64_t kColumns = 64;  // of the inner dim, side by side

struct Axis {
  int64_t outer, extent, inner;
  int64_t elements() const { return outer * extent * inner; }
};

// What integers and floats are summed up in; integers wrap.
template <typename T>
using Sum = typename std::conditional_t<std::is_integral_v<T>, std::make_unsigned<T>,
                                        std::type_identity<T>>::type;

// A number is taken in by `take` (of the sum so far and the element); `finish` has the sum and how
// many there were. The axis is walked with neighbours side by side.
template <typename T, typename Take, typename Finish>
std::unique_ptr<Step> Fold(const Binding& binding, const Axis& axis, Sum<T> first, Take take,
                           Finish finish) {
  using S = Sum<T>;
  const T* from = ReadAs<T>(binding, 0);
  T* to = WriteAs<T>(binding);
  const int64_t blocks = (axis.inner + kColumns - 1) / kColumns;
  return MakeWork(axis.outer * blocks, axis.elements(), [=](Range units, void*) {
    for (int64_t unit = units.begin; unit < units.end; ++unit) {
      const int64_t outer = unit / blocks, column = unit % blocks * kColumns;
      const int64_t width = std::min(kColumns, axis.inner - column);
      const T* x = from + outer * axis.extent * axis.inner + column;
      S sums[kColumns];
      std::fill_n(sums, kColumns, first);
      for (int64_t i = 0; i < axis.extent; ++i, x += axis.inner) {
        for (int64_t j = 0; j < width; ++j) sums[j] = take(sums[j], x[j]);
      }
      T* y = to + outer * axis.inner + column;
      for (int64_t j = 0; j < width; ++j) {
        y[j] = static_cast<T>(finish(static_cast<T>(sums[j]), axis.extent));
      }
    }
  });
}

template <typename T>
T Same(T sum, int64_t) {
  return sum;
}

template <typename T>
std::unique_ptr<Step> OfNumbers(const Binding& binding, ReduceWay way, const Axis& axis) {
  using S = Sum<T>;
  const auto sum = [](S so_far, T x) { return so_far + static_cast<S>(x); };
  switch (way) {
    case ReduceWay::kSum:
      return Fold<T>(binding, axis, 0, sum, Same<T>);
    case ReduceWay::kMean:
      return Fold<T>(binding, axis, 0, sum,
                     [](T all, int64_t count) { return all / static_cast<T>(count); });
    case ReduceWay::kMaximum:
      return Fold<T>(
          binding, axis,
          static_cast<S>(std::is_integral_v<T> ? std::numeric_limits<T>::lowest()
                                               : -std::numeric_limits<T>::infinity()),
          [](S so_far, T x) {
            const T best = static_cast<T>(so_far);
            return static_cast<S>(x > best || x != x ? x : best);
          },
          Same<T>);
    case ReduceWay::kMinimum:
      return Fold<T>(
          binding, axis,
          static_cast<S>(std::is_integral_v<T> ? std::numeric_limits<T>::max()
                                               : std::numeric_limits<T>::infinity()),
          [](S so_far, T x) {
            const T best = static_cast<T>(so_far);
            return static_cast<S>(x < best || x != x ? x : best);
          },
          Same<T>);
    case ReduceWay::kProduct:
      return Fold<T>(
          binding, axis, 1, [](S so_far, T x) { return so_far * static_cast<S>(x); }, Same<T>);
    case ReduceWay::kL1:
      return Fold<T>(
          binding, axis, 0,
          [](S so_far, T x) {
            return so_far + (x < 0 ? 0 - static_cast<S>(x) : static_cast<S>(x));
          },
          Same<T>);
    case ReduceWay::kSumSquare:
      return Fold<T>(
          binding, axis, 0,
          [](S so_far, T x) { return so_far + static_cast<S>(x) * static_cast<S>(x); }, Same<T>);
    default:
      return nullptr;
  }
}

// log(sum(exp)), from the greatest down.
std::unique_ptr<Step> LogSumExp(const Binding& binding, const Axis& axis) {
  const auto* from = ReadAs<float>(binding, 0);
  auto* to = WriteAs<float>(binding);
  return MakeWork(axis.outer * axis.inner, 8 * axis.elements(), [=](Range units, void*) {
    for (int64_t unit = units.begin; unit < units.end; ++unit) {
      const float* x = from + unit / axis.inner * axis.extent * axis.inner + unit % axis.inner;
      float most = -INFINITY;
      for (int64_t i = 0; i < axis.extent; ++i) most = std::max(most, x[i * axis.inner]);
      const float base = std::isfinite(most) ? most : 0;
      float sum = 0;
      for (int64_t i = 0; i < axis.extent; ++i) sum += std::exp(x[i * axis.inner] - base);
      to[unit] = std::log(sum) + base;
    }
  });
}

std::unique_ptr<Step> OfFloats(const Binding& binding, ReduceWay way, const Axis& axis) {
  switch (way) {
    case ReduceWay::kL2:
      return Fold<float>(
          binding, axis, 0, [](float so_far, float x) { return so_far + x * x; },
          [](float sum, int64_t) { return std::sqrt(sum); });
    case ReduceWay::kLogSum:
      return Fold<float>(
          binding, axis, 0, [](float so_far, float x) { return so_far + x; },
          [](float sum, int64_t) { return std::log(sum); });
    case ReduceWay::kLogSumExp:
      return LogSumExp(binding, axis);
    default:
      return nullptr;
  }
}

template <typename T>
std::unique_ptr<Step> Place(const Binding& binding, ReduceWay way, const Axis& axis) {
  const bool least = way == ReduceWay::kArgMinimum || way == ReduceWay::kArgMinimumLast;
  const bool last = way == ReduceWay::kArgMaximumLast || way == ReduceWay::kArgMinimumLast;
  const T* from = ReadAs<T>(binding, 0);
  auto* to = WriteAs<int64_t>(binding);
  return MakeWork(axis.outer * axis.inner, axis.elements(), [=](Range units, void*) {
    for (int64_t unit = units.begin; unit < units.end; ++unit) {
      const T* x = from + unit / axis.inner * axis.extent * axis.inner + unit % axis.inner;
      int64_t best = 0;
      for (int64_t i = 1; i < axis.extent; ++i) {
        const T here = x[i * axis.inner], there = x[best * axis.inner];
        if ((least ? here < there : here > there) || (last && here == there)) best = i;
      }
      to[unit] = best;
    }
  });
}

template <typename T>
std::unique_ptr<Step> Scan(const Binding& binding, const Axis& axis, bool exclusive,
                           bool backward) {
  const T* from = ReadAs<T>(binding, 0);
  T* to = WriteAs<T>(binding);
  return MakeWork(axis.outer * axis.inner, axis.elements(), [=](Range units, void*) {
    for (int64_t unit = units.begin; unit < units.end; ++unit) {
      const int64_t at = unit / axis.inner * axis.extent * axis.inner + unit % axis.inner;
      Sum<T> sum = 0;
      for (int64_t i = 0; i < axis.extent; ++i) {
        const int64_t place = at + (backward ? axis.extent - 1 - i : i) * axis.inner;
        const auto x = static_cast<Sum<T>>(from[place]);
        to[place] = static_cast<T>(exclusive ? sum : sum + x);
        sum += x;
      }
    }
  });
}

}  // namespace

Status MakeReduce(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::ReduceParameters* p = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(p));
  DS_ENGINE_RETURN_IF_ERROR(CheckDense(binding, 1));
  const file::Tensor &in = binding.input(0), &out = binding.output();
  if (!Holds(in, p->outer, p->extent, p->inner) || !Holds(out, p->outer, p->inner)) {
    return binding.Error("has tensors of other sizes than its extents");
  }
  const Axis axis{p->outer, p->extent, p->inner};
  const auto way = static_cast<ReduceWay>(p->way);
  const bool places = way >= ReduceWay::kArgMaximum && way <= ReduceWay::kArgMinimumLast;
  if (places && Is(out, Type::kInt64)) {
    WithNumber(in.type, [&]<typename T>(T) { step = Place<T>(binding, way, axis); });
  } else if (!places && in.type == out.type) {
    WithNumber(in.type, [&]<typename T>(T) { step = OfNumbers<T>(binding, way, axis); });
    if (!step && Is(in, Type::kFloat32)) step = OfFloats(binding, way, axis);
  }
  return step ? Status() : binding.Error("has no such reduction of its types");
}

Status MakeScan(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::ScanParameters* p = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(p));
  DS_ENGINE_RETURN_IF_ERROR(CheckDense(binding, 1));
  DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, p->exclusive));
  DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, p->backward));
  const file::Tensor &in = binding.input(0), &out = binding.output();
  if (!Holds(in, p->outer, p->extent, p->inner) || !SameDims(in, out) || in.type != out.type) {
    return binding.Error("has tensors of other sizes or types than its extents");
  }
  WithNumber(in.type, [&]<typename T>(T) {
    step = Scan<T>(binding, {p->outer, p->extent, p->inner}, p->exclusive != 0, p->backward != 0);
  });
  return step ? Status() : binding.Error("sums what are no numbers");
}

}  // namespace ds::engine
