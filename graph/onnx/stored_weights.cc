#include "graph/onnx/stored_weights.h"

namespace ds::onnx_io {
namespace {

// Smaller ones are not worth a look.
constexpr size_t kLarge = 4096;  // bytes

// Numbers of fields, of onnx.proto.
constexpr uint64_t kModelGraph = 7, kGraphInitializer = 5, kTensorRawData = 9;
// Wire types.
constexpr uint64_t kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;

struct Field {
  uint64_t number = 0;
  uint64_t type = 0;
  absl::string_view whole;    // with tag and length
  absl::string_view payload;  // kBytes only
};

bool ReadVarint(absl::string_view& rest, uint64_t& value) {
  value = 0;
  for (int shift = 0; shift < 64 && !rest.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(rest.front());
    rest.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return true;
  }
  return false;
}

bool ReadField(absl::string_view& rest, Field& field) {
  const absl::string_view start = rest;
  uint64_t tag = 0, length = 0;
  if (!ReadVarint(rest, tag)) return false;
  field.number = tag >> 3;
  field.type = tag & 7;
  field.payload = {};
  if (field.number == 0) return false;
  switch (field.type) {
    case kVarint:
      if (!ReadVarint(rest, length)) return false;
      break;
    case kFixed64:
    case kFixed32: {
      const size_t size = field.type == kFixed64 ? 8 : 4;
      if (rest.size() < size) return false;
      rest.remove_prefix(size);
      break;
    }
    case kBytes:
      if (!ReadVarint(rest, length) || length > rest.size()) return false;
      field.payload = rest.substr(0, length);
      rest.remove_prefix(length);
      break;
    default:
      return false;  // groups, which ONNX has none of
  }
  field.whole = start.substr(0, start.size() - rest.size());
  return true;
}

void AppendVarint(uint64_t value, std::string& out) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7f) | 0x80);
  out += static_cast<char>(value);
}

void AppendBytes(uint64_t number, absl::string_view payload, std::string& out) {
  AppendVarint(number << 3 | kBytes, out);
  AppendVarint(payload.size(), out);
  out.append(payload.data(), payload.size());
}

// `tensor` without its raw_data where that is large and given once, which is then `weights`.
bool SlimTensor(absl::string_view tensor, std::string& out, absl::string_view& weights) {
  std::string slim;
  absl::string_view raw;
  int count = 0;
  for (absl::string_view rest = tensor; !rest.empty();) {
    Field field;
    if (!ReadField(rest, field)) return false;
    if (field.number == kTensorRawData && field.type == kBytes) {
      raw = field.payload;
      ++count;
    } else {
      slim.append(field.whole.data(), field.whole.size());
    }
  }
  const bool leave_out = count == 1 && raw.size() >= kLarge;
  if (leave_out) weights = raw;
  AppendBytes(kGraphInitializer, leave_out ? absl::string_view(slim) : tensor, out);
  return true;
}

bool SlimGraph(absl::string_view graph, SlimModel& model) {
  std::string slim;
  for (absl::string_view rest = graph; !rest.empty();) {
    Field field;
    if (!ReadField(rest, field)) return false;
    if (field.number != kGraphInitializer || field.type != kBytes) {
      slim.append(field.whole.data(), field.whole.size());
      continue;
    }
    if (!SlimTensor(field.payload, slim, model.weights.emplace_back())) return false;
  }
  AppendBytes(kModelGraph, slim, model.bytes);
  return true;
}

}  // namespace

std::optional<SlimModel> LeaveOutWeights(absl::string_view model) {
  SlimModel slim;
  for (absl::string_view rest = model; !rest.empty();) {
    Field field;
    if (!ReadField(rest, field)) return std::nullopt;
    if (field.number == kModelGraph && field.type == kBytes) {
      if (!SlimGraph(field.payload, slim)) return std::nullopt;
    } else {
      slim.bytes.append(field.whole.data(), field.whole.size());
    }
  }
  return slim;
}

}  // namespace ds::onnx_io
