// The greatest or least elements along an axis, and where they are.
#include <algorithm>
#include <cstdint>
#include <memory>

#include "deploy/engine/runtime/steps/general/dense.h"
#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/window.h"

namespace ds::engine {
namespace {

// A strict order of all elements, whatever they are: first those that come first in the result.
template <typename T>
struct Order {
  const T* x;
  int64_t stride;
  bool largest;

  bool operator()(int32_t a, int32_t b) const {
    const T u = x[a * stride], v = x[b * stride];
    const bool u_none = u != u, v_none = v != v;
    if (u_none != v_none) return u_none == largest;
    if (!u_none && u != v) return largest ? u > v : u < v;
    return a < b;
  }
};

template <typename T>
std::unique_ptr<Step> TopK(const Binding& binding, const file::TopKParameters& p) {
  const T* from = ReadAs<T>(binding, 0);
  T* values = WriteAs<T>(binding, 0);
  auto* places = WriteAs<int64_t>(binding, 1);
  const int64_t extent = p.extent, inner = p.inner, count = p.count;
  const int64_t units = int64_t{p.outer} * inner;
  const bool largest = p.largest != 0;
  return MakeWork(
      units, 4 * units * extent,
      [=](Range range, void* scratch) {
        auto* order = static_cast<int32_t*>(scratch);
        for (int64_t unit = range.begin; unit < range.end; ++unit) {
          const T* x = from + unit / inner * extent * inner + unit % inner;
          for (int32_t i = 0; i < extent; ++i) order[i] = i;
          std::partial_sort(order, order + count, order + extent, Order<T>{x, inner, largest});
          const int64_t to = unit / inner * count * inner + unit % inner;
          for (int64_t i = 0; i < count; ++i) {
            values[to + i * inner] = x[order[i] * inner];
            places[to + i * inner] = order[i];
          }
        }
      },
      extent * 4);
}

}  // namespace

Status MakeTopK(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::TopKParameters* p = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(p));
  DS_ENGINE_RETURN_IF_ERROR(CheckDense(binding, 1, 2));
  DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, p->largest));
  const file::Tensor &in = binding.input(0), &values = binding.output(0),
                     &places = binding.output(1);
  if (!Holds(in, p->outer, p->extent, p->inner) || !Holds(values, p->outer, p->count, p->inner) ||
      !Holds(places, p->outer, p->count, p->inner) || p->count > p->extent ||
      in.type != values.type || !Is(places, file::Type::kInt64)) {
    return binding.Error("has tensors of other sizes or types than its extents");
  }
  WithNumber(in.type, [&]<typename T>(T) { step = TopK<T>(binding, *p); });
  return step ? Status() : binding.Error("orders what are no numbers");
}

}  // namespace ds::engine
