// Elements picked: along an axis by index, or point by point, read or written.
#include <cstdint>
#include <cstring>
#include <memory>

#include "deploy/engine/runtime/steps/general/dense.h"
#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/window.h"

namespace ds::engine {
namespace {

using file::kGeneralDims;
using file::ScatterWay;
using file::Type;

template <typename Use>
bool WithIndex(uint8_t type, Use use) {
  if (type == static_cast<uint8_t>(Type::kInt32)) return use(int32_t{}), true;
  if (type == static_cast<uint8_t>(Type::kInt64)) return use(int64_t{}), true;
  return false;
}

// Rows of `inner` elements of one size.
template <typename T, typename Index>
std::unique_ptr<Step> Take(const Binding& binding, const file::TakeParameters& p) {
  const T* from = ReadAs<T>(binding, 0);
  const Index* which = ReadAs<Index>(binding, 1);
  T* to = WriteAs<T>(binding);
  const int64_t count = p.count, extent = p.extent, inner = p.inner;
  const bool wraps = p.wraps != 0;
  T fill;
  std::memcpy(&fill, p.fill, sizeof(T));
  const int64_t units = int64_t{p.outer} * count;
  return MakeWork(units, units * inner, [=](Range range, void*) {
    for (int64_t unit = range.begin; unit < range.end; ++unit) {
      int64_t at = which[unit % count];
      if (wraps && at < 0) at += extent;
      T* row = to + unit * inner;
      if (at < 0 || at >= extent) {
        std::fill_n(row, inner, fill);
      } else {
        const T* source = from + (unit / count * extent + at) * inner;
        if (inner == 1) {
          *row = *source;
        } else {
          std::memcpy(row, source, static_cast<size_t>(inner) * sizeof(T));
        }
      }
    }
  });
}

// Where a point's elements lie in the data, or -1 where that is outside.
struct Points {
  file::PointsParameters p;

  int64_t count() const {
    int64_t count = 1;
    for (const uint32_t dim : p.dims) count *= dim;
    return count;
  }
  template <typename Index>
  int64_t At(int64_t point, const Index* indices) const {
    int64_t at = 0, left = point;
    for (int d = kGeneralDims - 1; d >= 0; --d) {
      at += left % p.dims[d] * p.strides[d];
      left /= p.dims[d];
    }
    for (uint32_t d = 0; d < p.depth; ++d) {
      int64_t index = indices[point * p.depth + d];
      const int64_t extent = p.extents[d];
      if (index < 0) index += extent;
      if (index < 0 || index >= extent) return -1;
      at += index * p.steps[d];
    }
    return at;
  }
};

// Whatever the indices are, no point leaves the data; and each has its indices and its elements.
Status CheckPoints(const Binding& binding, const file::PointsParameters& p,
                   const file::Tensor& points) {
  if (p.depth > kGeneralDims || p.inner == 0) return binding.Error("has points out of range");
  uint64_t count = 1, most = 0;
  constexpr uint64_t kMost = INT32_MAX;
  const auto reach = [&](uint64_t extent, uint64_t stride) {
    if (extent == 0 || extent > kMost || stride > kMost) return false;
    most += (extent - 1) * stride;
    return most <= kMost;
  };
  for (int d = 0; d < kGeneralDims; ++d) {
    if (!reach(p.dims[d], p.strides[d]) || p.dims[d] > kMost / count) {
      return binding.Error("has points out of range");
    }
    count *= p.dims[d];
  }
  for (uint32_t d = 0; d < p.depth; ++d) {
    if (!reach(p.extents[d], p.steps[d])) return binding.Error("has indices out of range");
  }
  const auto data = static_cast<uint64_t>(Elements(binding.input(0)));
  if (most + p.inner > data || !Holds(points, count, p.inner) ||
      static_cast<uint64_t>(Elements(binding.input(1))) != count * p.depth) {
    return binding.Error("has tensors of other sizes than its points");
  }
  return {};
}

template <typename T, typename Index>
std::unique_ptr<Step> GatherPoints(const Binding& binding, const Points& points) {
  const T* from = ReadAs<T>(binding, 0);
  const Index* indices = ReadAs<Index>(binding, 1);
  T* to = WriteAs<T>(binding);
  const int64_t inner = points.p.inner, count = points.count();
  return MakeWork(count, count * inner, [=](Range range, void*) {
    for (int64_t point = range.begin; point < range.end; ++point) {
      const int64_t at = points.At(point, indices);
      for (int64_t i = 0; i < inner; ++i) to[point * inner + i] = at < 0 ? T{} : from[at + i];
    }
  });
}

// Points may meet: one thread does them in order.
template <typename T, typename Index, typename Combine>
std::unique_ptr<Step> ScatterPoints(const Binding& binding, const Points& points, Combine combine) {
  const T *from = ReadAs<T>(binding, 0), *updates = ReadAs<T>(binding, 2);
  const Index* indices = ReadAs<Index>(binding, 1);
  T* to = WriteAs<T>(binding);
  const int64_t inner = points.p.inner, count = points.count(), all = Elements(binding.output());
  return MakeWork(1, all + count * inner, [=](Range, void*) {
    std::memcpy(to, from, static_cast<size_t>(all) * sizeof(T));
    for (int64_t point = 0; point < count; ++point) {
      const int64_t at = points.At(point, indices);
      for (int64_t i = 0; at >= 0 && i < inner; ++i) {
        to[at + i] = combine(to[at + i], updates[point * inner + i]);
      }
    }
  });
}

template <typename Use>
void WithSize(int64_t bytes, Use use) {
  if (bytes == 1) {
    use(uint8_t{});
  } else if (bytes == 4) {
    use(uint32_t{});
  } else {
    use(uint64_t{});
  }
}

template <typename T, typename Index>
std::unique_ptr<Step> ScatterNumbers(const Binding& binding, const Points& points) {
  const auto with = [&](auto combine) { return ScatterPoints<T, Index>(binding, points, combine); };
  switch (static_cast<ScatterWay>(points.p.way)) {
    case ScatterWay::kAdd:
      if constexpr (std::is_integral_v<T>) {
        using U = std::make_unsigned_t<T>;
        return with([](T a, T b) { return static_cast<T>(static_cast<U>(a) + static_cast<U>(b)); });
      } else {
        return with([](T a, T b) { return a + b; });
      }
    case ScatterWay::kMultiply:
      if constexpr (std::is_integral_v<T>) {
        using U = std::make_unsigned_t<T>;
        return with([](T a, T b) { return static_cast<T>(static_cast<U>(a) * static_cast<U>(b)); });
      } else {
        return with([](T a, T b) { return a * b; });
      }
    case ScatterWay::kMaximum:
      return with([](T a, T b) { return a < b ? b : a; });
    case ScatterWay::kMinimum:
      return with([](T a, T b) { return b < a ? b : a; });
    default:
      return nullptr;
  }
}

}  // namespace

Status MakeTake(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::TakeParameters* p = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(p));
  DS_ENGINE_RETURN_IF_ERROR(CheckDense(binding, 2));
  DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, p->wraps));
  const file::Tensor &in = binding.input(0), &out = binding.output();
  if (in.type != out.type || !Holds(in, p->outer, p->extent, p->inner) ||
      !Holds(binding.input(1), p->count) || !Holds(out, p->outer, p->count, p->inner)) {
    return binding.Error("has tensors of other sizes or types than its extents");
  }
  WithIndex(binding.input(1).type, [&]<typename Index>(Index) {
    WithSize(ElementBytes(in.type), [&]<typename T>(T) { step = Take<T, Index>(binding, *p); });
  });
  return step ? Status() : binding.Error("has indices that are neither int32 nor int64");
}

Status MakeGatherNd(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::PointsParameters* p = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(p));
  DS_ENGINE_RETURN_IF_ERROR(CheckDense(binding, 2));
  const file::Tensor &in = binding.input(0), &out = binding.output();
  if (in.type != out.type) return binding.Error("has a result of another type than its data");
  DS_ENGINE_RETURN_IF_ERROR(CheckPoints(binding, *p, out));
  WithIndex(binding.input(1).type, [&]<typename Index>(Index) {
    WithSize(ElementBytes(in.type),
             [&]<typename T>(T) { step = GatherPoints<T, Index>(binding, Points{*p}); });
  });
  return step ? Status() : binding.Error("has indices that are neither int32 nor int64");
}

Status MakeScatterNd(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::PointsParameters* p = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(p));
  DS_ENGINE_RETURN_IF_ERROR(CheckDense(binding, 3));
  const file::Tensor &in = binding.input(0), &out = binding.output();
  if (in.type != out.type || in.type != binding.input(2).type || !SameDims(in, out)) {
    return binding.Error("has a result or updates of another type or other dims than its data");
  }
  DS_ENGINE_RETURN_IF_ERROR(CheckPoints(binding, *p, binding.input(2)));
  WithIndex(binding.input(1).type, [&]<typename Index>(Index) {
    if (p->way == static_cast<uint32_t>(ScatterWay::kReplace)) {
      WithSize(ElementBytes(in.type), [&]<typename T>(T) {
        step = ScatterPoints<T, Index>(binding, Points{*p}, [](T, T update) { return update; });
      });
    } else {
      WithNumber(in.type,
                 [&]<typename T>(T) { step = ScatterNumbers<T, Index>(binding, Points{*p}); });
    }
  });
  return step ? Status() : binding.Error("has no such scatter of its types");
}

}  // namespace ds::engine
