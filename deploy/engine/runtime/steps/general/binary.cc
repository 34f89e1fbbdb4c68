// Two operands, each repeated along axes as it says, and the choice between two.
#include <cmath>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "deploy/engine/runtime/steps/general/dense.h"
#include "deploy/engine/runtime/steps/makers.h"

namespace ds::engine {
namespace {

using file::BinaryWay;
using file::kGeneralDims;
using file::Type;

constexpr int kLast = kGeneralDims - 1;

// A walk over rows (the last dim) of `count` operands.
template <int count>
struct Walk {
  uint32_t dims[kGeneralDims];
  uint32_t strides[count][kGeneralDims];

  int64_t rows() const {
    int64_t rows = 1;
    for (int d = 0; d < kLast; ++d) rows *= dims[d];
    return rows;
  }
  // Where a row of operand `which` begins.
  int64_t At(int which, int64_t row) const {
    int64_t at = 0;
    for (int d = kLast - 1; d >= 0; --d) {
      at += row % dims[d] * strides[which][d];
      row /= dims[d];
    }
    return at;
  }
};

// Whether the dims fill the output and no operand is read outside of its tensor.
template <int count>
Status CheckWalk(const Binding& binding, const Walk<count>& walk) {
  uint64_t elements = 1;
  for (const uint32_t dim : walk.dims) {
    if (dim == 0 || dim > INT32_MAX / elements) return binding.Error("has dims out of range");
    elements *= dim;
  }
  if (elements != static_cast<uint64_t>(Elements(binding.output()))) {
    return binding.Error("has dims that are not its output's");
  }
  for (int i = 0; i < count; ++i) {
    uint64_t most = 0;  // six products of less than 2^64 / 8
    for (int d = 0; d < kGeneralDims; ++d) {
      most += uint64_t{walk.dims[d] - 1} * (walk.strides[i][d] & 0x7fffffffu);
      if (walk.strides[i][d] > INT32_MAX || most > INT32_MAX) {
        return binding.Error("has strides out of range");
      }
    }
    if (most >= static_cast<uint64_t>(Elements(binding.input(i)))) {
      return binding.Error("reads outside of an operand");
    }
  }
  return {};
}

template <typename In, typename Out, typename Function>
std::unique_ptr<Step> Rows(const Binding& binding, const Walk<2>& walk, Function function) {
  const In *a = ReadAs<In>(binding, 0), *b = ReadAs<In>(binding, 1);
  Out* to = WriteAs<Out>(binding);
  const int64_t rows = walk.rows(), columns = walk.dims[kLast];
  return MakeWork(rows, rows * columns, [=](Range units, void*) {
    const int64_t step_a = walk.strides[0][kLast], step_b = walk.strides[1][kLast];
    for (int64_t row = units.begin; row < units.end; ++row) {
      const In *x = a + walk.At(0, row), *y = b + walk.At(1, row);
      Out* z = to + row * columns;
      if (step_a == 1 && step_b == 1) {
        for (int64_t i = 0; i < columns; ++i) z[i] = static_cast<Out>(function(x[i], y[i]));
      } else if (step_a == 1 && step_b == 0) {
        const In one = *y;
        for (int64_t i = 0; i < columns; ++i) z[i] = static_cast<Out>(function(x[i], one));
      } else {
        for (int64_t i = 0; i < columns; ++i) {
          z[i] = static_cast<Out>(function(x[i * step_a], y[i * step_b]));
        }
      }
    }
  });
}

template <typename T>
T Power(T base, T exponent) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::pow(base, exponent);
  } else {
    using U = std::make_unsigned_t<T>;
    if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 == 0 ? 1 : -1) : 0;
    U result = 1, square = static_cast<U>(base);
    for (U left = static_cast<U>(exponent); left != 0; left >>= 1, square *= square) {
      if (left & 1) result *= square;
    }
    return static_cast<T>(result);
  }
}

template <typename T>
T Divide(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return a / b;
  } else {
    using U = std::make_unsigned_t<T>;
    if (b == 0) return 0;
    return b == -1 ? static_cast<T>(0 - static_cast<U>(a)) : a / b;
  }
}

template <typename T>
T Remainder(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::fmod(a, b);
  } else {
    return b == 0 || b == -1 ? 0 : a % b;
  }
}

template <typename T>
T Modulo(T a, T b) {
  const T rest = Remainder(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

// Arithmetic of integers wraps.
template <typename T>
using Wrapping = typename std::conditional_t<std::is_integral_v<T>, std::make_unsigned<T>,
                                             std::type_identity<T>>::type;

template <typename T>
std::unique_ptr<Step> Arithmetic(const Binding& binding, BinaryWay way, const Walk<2>& walk) {
  using W = Wrapping<T>;
  const auto wrap = [](T x) { return static_cast<W>(x); };
  const auto rows = [&](auto function) { return Rows<T, T>(binding, walk, function); };
  switch (way) {
    case BinaryWay::kAdd:
      return rows([=](T a, T b) { return static_cast<T>(wrap(a) + wrap(b)); });
    case BinaryWay::kSubtract:
      return rows([=](T a, T b) { return static_cast<T>(wrap(a) - wrap(b)); });
    case BinaryWay::kMultiply:
      return rows([=](T a, T b) { return static_cast<T>(wrap(a) * wrap(b)); });
    case BinaryWay::kDivide:
      return rows(Divide<T>);
    case BinaryWay::kMaximum:
      return rows([](T a, T b) { return a != a ? a : a < b || b != b ? b : a; });
    case BinaryWay::kMinimum:
      return rows([](T a, T b) { return a != a ? a : b < a || b != b ? b : a; });
    case BinaryWay::kPower:
      return rows(Power<T>);
    case BinaryWay::kModulo:
      return rows(Modulo<T>);
    case BinaryWay::kRemainder:
      return rows(Remainder<T>);
    case BinaryWay::kPrelu:
      return rows([=](T a, T b) { return a < 0 ? static_cast<T>(wrap(a) * wrap(b)) : a; });
    default:
      return nullptr;
  }
}

template <typename T>
std::unique_ptr<Step> Bits(const Binding& binding, BinaryWay way, const Walk<2>& walk) {
  const auto rows = [&](auto function) { return Rows<T, T>(binding, walk, function); };
  switch (way) {
    case BinaryWay::kBitAnd:
      return rows([](T a, T b) { return a & b; });
    case BinaryWay::kBitOr:
      return rows([](T a, T b) { return a | b; });
    case BinaryWay::kBitXor:
      return rows([](T a, T b) { return a ^ b; });
    default:
      return nullptr;
  }
}

template <typename T>
std::unique_ptr<Step> Comparison(const Binding& binding, BinaryWay way, const Walk<2>& walk) {
  const auto rows = [&](auto function) { return Rows<T, uint8_t>(binding, walk, function); };
  switch (way) {
    case BinaryWay::kEqual:
      return rows([](T a, T b) { return a == b; });
    case BinaryWay::kLess:
      return rows([](T a, T b) { return a < b; });
    case BinaryWay::kGreater:
      return rows([](T a, T b) { return a > b; });
    case BinaryWay::kLessOrEqual:
      return rows([](T a, T b) { return a <= b; });
    case BinaryWay::kGreaterOrEqual:
      return rows([](T a, T b) { return a >= b; });
    default:
      return nullptr;
  }
}

// Elements of one size, whatever they are.
template <typename T>
std::unique_ptr<Step> Select(const Binding& binding, const Walk<3>& walk) {
  const auto* which = ReadAs<uint8_t>(binding, 0);
  const T *a = ReadAs<T>(binding, 1), *b = ReadAs<T>(binding, 2);
  T* to = WriteAs<T>(binding);
  const int64_t rows = walk.rows(), columns = walk.dims[kLast];
  return MakeWork(rows, rows * columns, [=](Range units, void*) {
    const int64_t step_if = walk.strides[0][kLast], step_a = walk.strides[1][kLast],
                  step_b = walk.strides[2][kLast];
    for (int64_t row = units.begin; row < units.end; ++row) {
      const uint8_t* c = which + walk.At(0, row);
      const T *x = a + walk.At(1, row), *y = b + walk.At(2, row);
      T* z = to + row * columns;
      for (int64_t i = 0; i < columns; ++i) {
        z[i] = c[i * step_if] != 0 ? x[i * step_a] : y[i * step_b];
      }
    }
  });
}

}  // namespace

Status MakeBinary(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::BinaryParameters* parameters = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  DS_ENGINE_RETURN_IF_ERROR(CheckDense(binding, 2));
  Walk<2> walk;
  for (int d = 0; d < kGeneralDims; ++d) {
    walk.dims[d] = parameters->dims[d];
    walk.strides[0][d] = parameters->strides_a[d];
    walk.strides[1][d] = parameters->strides_b[d];
  }
  DS_ENGINE_RETURN_IF_ERROR(CheckWalk(binding, walk));
  const auto way = static_cast<BinaryWay>(parameters->way);
  const file::Tensor &a = binding.input(0), &out = binding.output();
  if (a.type != binding.input(1).type) return binding.Error("has operands of unlike types");
  const bool compares = way >= BinaryWay::kEqual;
  if (compares ? !Is(out, Type::kBool) : out.type != a.type) {
    return binding.Error("has a result of another type than its operands make");
  }
  WithNumber(a.type, [&]<typename T>(T) {
    step = compares ? Comparison<T>(binding, way, walk) : Arithmetic<T>(binding, way, walk);
    if constexpr (std::is_integral_v<T>) {
      if (!step) step = Bits<T>(binding, way, walk);
    }
  });
  if (Is(a, Type::kBool)) {
    step = compares ? Comparison<uint8_t>(binding, way, walk) : Bits<uint8_t>(binding, way, walk);
  }
  return step ? Status() : binding.Error("has no such operation of its types");
}

Status MakeSelect(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::SelectParameters* parameters = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  DS_ENGINE_RETURN_IF_ERROR(CheckDense(binding, 3));
  Walk<3> walk;
  for (int d = 0; d < kGeneralDims; ++d) {
    walk.dims[d] = parameters->dims[d];
    walk.strides[0][d] = parameters->strides_if[d];
    walk.strides[1][d] = parameters->strides_a[d];
    walk.strides[2][d] = parameters->strides_b[d];
  }
  DS_ENGINE_RETURN_IF_ERROR(CheckWalk(binding, walk));
  const file::Tensor& out = binding.output();
  if (!Is(binding.input(0), Type::kBool) || binding.input(1).type != out.type ||
      binding.input(2).type != out.type) {
    return binding.Error("takes bool and two operands of its result's type");
  }
  switch (ElementBytes(out.type)) {
    case 1:
      step = Select<uint8_t>(binding, walk);
      break;
    case 4:
      step = Select<uint32_t>(binding, walk);
      break;
    default:
      step = Select<uint64_t>(binding, walk);
  }
  return {};
}

}  // namespace ds::engine
