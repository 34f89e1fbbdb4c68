// Small .dsm files, made by hand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "deploy/engine/compile/file/writer.h"
#include "deploy/engine/runtime/file_view.h"
#include "deploy/engine/runtime/kernels/pack/pack.h"
#include "deploy/engine/runtime/model.h"
#include "deploy/engine/runtime/parameters.h"

namespace ds::engine::testing {

// A file in memory as a mapping has it: at an aligned address.
class FileBytes {
 public:
  explicit FileBytes(const std::string& file) : size_(file.size()) {
    memory_.reset(static_cast<std::byte*>(std::aligned_alloc(64, RoundUp(size_ + 1, 64))));
    std::memcpy(memory_.get(), file.data(), size_);
  }
  std::span<std::byte> bytes() { return {memory_.get(), size_}; }
  file::Header& header() { return *reinterpret_cast<file::Header*>(memory_.get()); }
  // The tables, one kind of records at a time, to be spoilt; Seal() makes their hash right again.
  template <typename T>
  std::span<T> Records(file::SectionKind kind) {
    auto* records = reinterpret_cast<file::SectionRecord*>(memory_.get() + sizeof(file::Header));
    for (uint32_t i = 0; i < header().section_count; ++i) {
      if (records[i].kind == static_cast<uint32_t>(kind))
        return {reinterpret_cast<T*>(memory_.get() + records[i].offset), records[i].count};
    }
    return {};
  }
  void Seal() { header().tables_hash = TablesHash(bytes().first(header().tables_bytes)); }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  size_t size_;
};

// Quantise [1, 3, 6, 6] -> 3x3 convolution to 8 channels -> + 1x1 convolution of it -> average
// over the image -> classifier of 5 -> floats. Every instruction set has its packing.
struct SmallNetwork {
  static constexpr int32_t kSize = 6, kIn = 3, kMiddle = 8, kOut = 5;
  static constexpr float kScales[4] = {0.02f, 0.05f, 0.04f, 0.1f};
  std::vector<int8_t> first, second, last;
  std::vector<int32_t> bias;

  SmallNetwork();
  // With a plan for each batch.
  std::string File(const std::vector<int32_t>& batches = {1}) const;

 private:
  void AddPlan(file::FileWriter& writer, int32_t batch) const;
};

}  // namespace ds::engine::testing
