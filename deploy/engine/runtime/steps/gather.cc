// Rows of a table by their numbers: embeddings.
#include <cstdint>
#include <cstring>
#include <memory>

#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/shapes.h"

namespace ds::engine {
namespace {

// Units are indices. One that the table does not have gives zeros: data cannot fail a run.
template <typename Index>
class GatherStep final : public Step {
 public:
  GatherStep(const std::byte* table, int64_t rows, int64_t row_bytes, const std::byte* indices,
             int64_t count, std::byte* out)
      : Step(count, count * row_bytes / 4),
        table_(table),
        rows_(rows),
        row_bytes_(row_bytes),
        indices_(reinterpret_cast<const Index*>(indices)),
        out_(out) {}

  void Run(Range units, void*) const override {
    for (int64_t unit = units.begin; unit < units.end; ++unit) {
      int64_t row = indices_[unit];
      if (row < 0) row += rows_;
      std::byte* to = out_ + unit * row_bytes_;
      const auto bytes = static_cast<size_t>(row_bytes_);
      if (row >= 0 && row < rows_) {
        std::memcpy(to, table_ + row * row_bytes_, bytes);
      } else {
        std::memset(to, 0, bytes);
      }
    }
  }

 private:
  const std::byte* const table_;
  const int64_t rows_, row_bytes_;
  const Index* const indices_;
  std::byte* const out_;
};

}  // namespace

Status MakeGather(const Binding& binding, std::unique_ptr<Step>& step) {
  DS_ENGINE_RETURN_IF_ERROR(binding.Counts(2, 1, 0));
  const file::Tensor &table = binding.input(0), &indices = binding.input(1),
                     &out = binding.output();
  const auto is = [](const file::Tensor& t, file::Type type) {
    return t.type == static_cast<uint8_t>(type);
  };
  const bool wide = is(indices, file::Type::kInt64);
  if (!is(table, file::Type::kFloat32) || !is(out, file::Type::kFloat32) ||
      (!wide && !is(indices, file::Type::kInt32))) {
    return binding.Error("takes a table of floats and indices of int32 or int64");
  }
  if (!Dense(table) || !Dense(indices) || !Dense(out) || Columns(out) != Columns(table) ||
      Rows(out) != Elements(indices)) {
    return binding.Error("has an output that is not a row of the table for each index");
  }
  const auto make = [&]<typename Index>(Index) {
    step = std::make_unique<GatherStep<Index>>(binding.Read(table), Rows(table),
                                               int64_t{Columns(table)} * 4, binding.Read(indices),
                                               Elements(indices), binding.Write(out));
  };
  if (wide)
    make(int64_t{});
  else
    make(int32_t{});
  return {};
}

}  // namespace ds::engine
