// A .dsm file's tables, in place, as one of its plans has them. Open() verifies what holds for
// every file, whatever its operators do: the header, the sections, that every count and offset of
// every plan stays inside, and the tables' hash. Nothing is copied. check/ verifies the rest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "deploy/engine/runtime/file.h"
#include "deploy/engine/runtime/status.h"

namespace ds::engine {

struct FileView {
  std::span<const std::byte> bytes;  // the whole file, 8-byte aligned; outlives the view
  const file::Header* header = nullptr;
  // Of this plan.
  const file::Plan* plan = nullptr;
  std::span<const file::Tensor> tensors;
  std::span<const file::Operator> operators;
  std::span<const uint32_t> inputs, outputs;  // tensors
  // Of all plans.
  std::span<const file::Plan> plans;
  std::span<const file::Constant> constants;
  std::span<const uint32_t> references;
  std::span<const std::byte> parameters;
  std::string_view strings;
  std::span<const file::Tensor> all_tensors;
  std::span<const file::Operator> all_operators;
  std::span<const uint32_t> interface;

  // The first plan's view. Errors say what is wrong and where; "write the file again with
  // ds_export" is left to the caller.
  static Status Open(std::span<const std::byte> bytes, FileView& view);
  // The same file as another plan has it.
  FileView Of(size_t number) const;

  std::string_view Name(const file::Tensor& tensor) const {
    return strings.substr(tensor.name, tensor.name_bytes);
  }
  std::string_view Name(const file::Operator& op) const {
    return strings.substr(op.name, op.name_bytes);
  }
  std::string_view Story(const file::Operator& op) const {
    return strings.substr(op.story, op.story_bytes);
  }
  std::span<const uint32_t> Inputs(const file::Operator& op) const {
    return references.subspan(op.references, op.input_count);
  }
  std::span<const uint32_t> Outputs(const file::Operator& op) const {
    return references.subspan(op.references + op.input_count, op.output_count);
  }
  std::span<const uint32_t> Constants(const file::Operator& op) const {
    return references.subspan(size_t{op.references} + op.input_count + op.output_count,
                              op.constant_count);
  }
  std::span<const std::byte> ConstantBytes(const file::Constant& constant) const {
    return bytes.subspan(constant.offset, constant.bytes);
  }
};

// The hash that a file's header has of its tables, those being [0, header.tables_bytes): of all of
// them, with the hash's own field as 0.
uint64_t TablesHash(std::span<const std::byte> tables);

// Bytes of an element; 0 for a type that there is not.
constexpr int64_t ElementBytes(uint8_t type) {
  switch (static_cast<file::Type>(type)) {
    case file::Type::kFloat32:
    case file::Type::kInt32:
      return 4;
    case file::Type::kInt64:
      return 8;
    case file::Type::kUint8:
    case file::Type::kInt8:
    case file::Type::kBool:
      return 1;
  }
  return 0;
}

}  // namespace ds::engine
