// Elements in another order or beside each other.
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "deploy/engine/runtime/parameters.h"
#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/shapes.h"

namespace ds::engine {
namespace {

using file::MoveParameters;

constexpr int kDims = 6;

template <typename T>
void MoveRow(const T* from, int64_t stride, int32_t count, T* to) {
  if (stride == 1) {
    std::memcpy(to, from, static_cast<size_t>(count) * sizeof(T));
  } else {
    for (int32_t i = 0; i < count; ++i) to[i] = from[i * stride];
  }
}

// Units are rows of the output's innermost dim.
class MoveStep final : public Step {
 public:
  MoveStep(const MoveParameters& parameters, int64_t rows, int64_t element, const std::byte* in,
           std::byte* out)
      : Step(rows, rows * parameters.dims[kDims - 1]),
        parameters_(parameters),
        element_(element),
        in_(in),
        out_(out) {}

  void Run(Range units, void*) const override {
    const auto count = static_cast<int32_t>(parameters_.dims[kDims - 1]);
    for (int32_t row = units.begin; row < units.end; ++row) {
      int64_t at = parameters_.start;
      uint32_t rest = static_cast<uint32_t>(row);
      for (int d = kDims - 2; d >= 0; --d) {
        at += int64_t{rest % parameters_.dims[d]} * parameters_.strides[d];
        rest /= parameters_.dims[d];
      }
      const std::byte* from = in_ + at * element_;
      std::byte* to = out_ + int64_t{row} * count * element_;
      const int64_t stride = parameters_.strides[kDims - 1];
      if (element_ == 1)
        MoveRow(reinterpret_cast<const uint8_t*>(from), stride, count,
                reinterpret_cast<uint8_t*>(to));
      else if (element_ == 4)
        MoveRow(reinterpret_cast<const uint32_t*>(from), stride, count,
                reinterpret_cast<uint32_t*>(to));
      else
        MoveRow(reinterpret_cast<const uint64_t*>(from), stride, count,
                reinterpret_cast<uint64_t*>(to));
    }
  }

 private:
  const MoveParameters parameters_;
  const int64_t element_;
  const std::byte* const in_;
  std::byte* const out_;
};

// Units are the outer rows.
class ConcatStep final : public Step {
 public:
  struct Part {
    const std::byte* data;
    int64_t bytes;  // of a row
  };
  ConcatStep(int32_t outer, std::vector<Part> parts, int64_t row, std::byte* out)
      : Step(outer, outer * row), parts_(std::move(parts)), row_(row), out_(out) {}

  void Run(Range units, void*) const override {
    for (int64_t unit = units.begin; unit < units.end; ++unit) {
      std::byte* to = out_ + unit * row_;
      for (const Part& part : parts_) {
        std::memcpy(to, part.data + unit * part.bytes, static_cast<size_t>(part.bytes));
        to += part.bytes;
      }
    }
  }

 private:
  const std::vector<Part> parts_;
  const int64_t row_;
  std::byte* const out_;
};

}  // namespace

Status MakeMove(const Binding& binding, std::unique_ptr<Step>& step) {
  const MoveParameters* parameters = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  DS_ENGINE_RETURN_IF_ERROR(binding.Counts(1, 1, 0));
  const file::Tensor &in = binding.input(0), &out = binding.output();
  if (in.type != out.type || !Dense(in) || !Dense(out)) {
    return binding.Error("moves between unlike types or rows that are not adjacent");
  }
  int64_t count = 1, least = parameters->start, most = parameters->start;
  for (int d = 0; d < kDims; ++d) {
    const int64_t dim = parameters->dims[d];
    if (dim == 0 || dim > INT32_MAX / count) return binding.Error("has dims out of range");
    count *= dim;
    const int64_t reach = (dim - 1) * parameters->strides[d];
    (reach < 0 ? least : most) += reach;
  }
  if (count != Elements(out) || least < 0 || most >= Elements(in)) {
    return binding.Error("reads outside its input or does not fill its output");
  }
  step = std::make_unique<MoveStep>(*parameters, count / parameters->dims[kDims - 1],
                                    ElementBytes(in.type), binding.Read(in), binding.Write(out));
  return {};
}

Status MakeConcat(const Binding& binding, std::unique_ptr<Step>& step) {
  const file::ConcatParameters* parameters = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  const int inputs = binding.input_count();
  DS_ENGINE_RETURN_IF_ERROR(binding.Counts(inputs, 1, 0));
  const file::Tensor& out = binding.output();
  const auto outer = static_cast<int64_t>(parameters->outer);
  if (outer == 0 || Elements(out) % outer != 0 || !Dense(out)) {
    return binding.Error("has an output that its outer dim does not divide");
  }
  const int64_t element = ElementBytes(out.type);
  std::vector<ConcatStep::Part> parts;
  int64_t row = 0;
  for (int i = 0; i < inputs; ++i) {
    const file::Tensor& in = binding.input(i);
    if (in.type != out.type || !Dense(in) || Elements(in) % outer != 0) {
      return binding.Error("has an input that its outer dim does not divide");
    }
    parts.push_back({binding.Read(in), Elements(in) / outer * element});
    row += parts.back().bytes;
  }
  if (row * outer != Elements(out) * element) {
    return binding.Error("has an output of another size than its inputs together");
  }
  step = std::make_unique<ConcatStep>(static_cast<int32_t>(outer), std::move(parts), row,
                                      binding.Write(out));
  return {};
}

}  // namespace ds::engine
