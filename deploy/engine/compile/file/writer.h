// Puts a .dsm file together from its tables: offsets, alignment and hashes are its business, what
// the tables say is the caller's. Knows the runtime's structures and no graph.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "deploy/engine/runtime/file.h"
#include "deploy/engine/runtime/parameters.h"

namespace ds::engine::file {

// What each instruction set may use.
inline constexpr uint32_t kAllKernels = 0xffffffffu;

class FileWriter {
 public:
  struct TensorSpec {
    std::string name;
    Type type = Type::kFloat32;
    std::vector<uint32_t> dims;  // at most kMaxRank, as they lie
    Place place = Place::kArena;
    uint64_t offset = 0;  // as Tensor has it
    // A view of another tensor: reshape, or slice with that one's row_bytes.
    uint32_t view_of = kNone;
    uint32_t row_bytes = 0;  // 0: of its own last dim
    float scale = 0;
    int32_t zero_point = 0;
  };
  struct OperatorSpec {
    OperatorKind kind{};
    std::string name;
    std::vector<uint32_t> inputs, outputs, constants;
    std::vector<std::byte> parameters;
    std::string story;
    uint64_t macs = 0;
  };
  struct Arena {
    uint64_t bytes = 0, bound_bytes = 0, unplanned_bytes = 0;
  };

  // Tensors, operators, interface and arena belong to one plan: the first, and after each
  // NextPlan() another one. Tensors are numbered from 0 in each; constants belong to all.
  void NextPlan() { plans_.push_back({tensors_.size(), operators_.size(), {}, {}, {}}); }

  uint32_t AddTensor(TensorSpec tensor);
  // Bytes that already are there for the same kernels, and have no `next`, are not stored twice.
  uint32_t AddConstant(std::span<const std::byte> bytes, uint32_t kernels = kAllKernels);
  // The same weights packed for several instruction sets, each with bits of `kernels` of its own.
  struct Packing {
    std::vector<std::byte> bytes;
    uint32_t kernels = kAllKernels;
  };
  uint32_t AddPackings(std::vector<Packing> packings);
  void AddOperator(OperatorSpec op);
  void SetInterface(std::vector<uint32_t> inputs, std::vector<uint32_t> outputs);
  void SetArena(const Arena& arena) { plans_.back().arena = arena; }
  TensorSpec& tensor(uint32_t id) { return tensors_[plans_.back().first_tensor + id]; }

  // The whole file. The caller has kept to the limits of file.h.
  std::string Bytes() const;

 private:
  struct ConstantSpec {
    std::vector<std::byte> bytes;
    uint32_t kernels, next;
  };
  struct PlanSpec {
    size_t first_tensor = 0, first_operator = 0;
    std::vector<uint32_t> inputs, outputs;
    Arena arena;
  };
  int GroupOf(uint32_t constant) const;
  std::vector<uint32_t> FileOrder() const;
  uint32_t Store(std::vector<std::byte> bytes, uint32_t kernels, uint32_t next);

  std::vector<TensorSpec> tensors_;
  std::vector<ConstantSpec> constants_;
  std::vector<OperatorSpec> operators_;
  std::vector<PlanSpec> plans_ = {{}};
};

template <typename T>
std::vector<std::byte> BytesOf(const T& value) {
  const auto* first = reinterpret_cast<const std::byte*>(&value);
  return {first, first + sizeof(value)};
}

}  // namespace ds::engine::file
