// What all general steps check first: dense tensors of types that they take.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "deploy/engine/runtime/general.h"
#include "deploy/engine/runtime/steps/shapes.h"
#include "deploy/engine/runtime/steps/step.h"

namespace ds::engine {

inline bool Is(const file::Tensor& tensor, file::Type type) {
  return tensor.type == static_cast<uint8_t>(type);
}

// Calls `use` with a number of the tensor's type: float, int32_t or int64_t. False for another.
template <typename Use>
bool WithNumber(uint8_t type, Use use) {
  switch (static_cast<file::Type>(type)) {
    case file::Type::kFloat32:
      return use(float{}), true;
    case file::Type::kInt32:
      return use(int32_t{}), true;
    case file::Type::kInt64:
      return use(int64_t{}), true;
    default:
      return false;
  }
}

// Inputs, outputs, no constants; all dense.
inline Status CheckDense(const Binding& binding, int inputs, int outputs = 1) {
  DS_ENGINE_RETURN_IF_ERROR(binding.Counts(inputs, outputs, 0));
  for (int i = 0; i < inputs; ++i) {
    if (!Dense(binding.input(i))) return binding.Error("reads rows that are not adjacent");
  }
  for (int i = 0; i < outputs; ++i) {
    if (!Dense(binding.output(i))) return binding.Error("writes rows that are not adjacent");
  }
  return {};
}

// Whether the extents, none 0, multiply to the tensor's elements.
template <typename... Extents>
bool Holds(const file::Tensor& tensor, Extents... extents) {
  uint64_t left = static_cast<uint64_t>(Elements(tensor));
  const auto divide = [&](uint64_t extent) {
    if (extent == 0 || left % extent != 0) return false;
    left /= extent;
    return true;
  };
  return (divide(extents) && ...) && left == 1;
}

template <typename T>
const T* ReadAs(const Binding& binding, int input) {
  return reinterpret_cast<const T*>(binding.Read(binding.input(input)));
}
template <typename T>
T* WriteAs(const Binding& binding, int output = 0) {
  return reinterpret_cast<T*>(binding.Write(binding.output(output)));
}

// A step that calls a function object with a part of its units.
template <typename Work>
class WorkStep final : public Step {
 public:
  WorkStep(int64_t units, int64_t work, Work run, int64_t scratch_bytes = 0)
      : Step(units, work, scratch_bytes), run_(std::move(run)) {}
  void Run(Range units, void* scratch) const override { run_(units, scratch); }

 private:
  const Work run_;
};
template <typename Work>
std::unique_ptr<Step> MakeWork(int64_t units, int64_t work, Work run, int64_t scratch_bytes = 0) {
  return std::make_unique<WorkStep<Work>>(units, work, std::move(run), scratch_bytes);
}

// Elements in blocks: a unit is one block.
constexpr int64_t kElementBlock = 1024;
inline int64_t Blocks(int64_t elements) { return (elements + kElementBlock - 1) / kElementBlock; }
struct Span {
  int64_t begin, end;
};
inline Span BlockElements(Range units, int64_t elements) {
  return {units.begin * kElementBlock, std::min(units.end * kElementBlock, elements)};
}

}  // namespace ds::engine
