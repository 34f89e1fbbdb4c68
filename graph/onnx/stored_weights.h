// An ONNX file without the bytes of its large weights: the message library would copy them twice
// before a tensor sees them. Knows the wire format of protobuf messages, and of ONNX's the few
// numbers that lead to an initialiser's raw_data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace ds::onnx_io {

struct SlimModel {
  std::string bytes;  // the same ModelProto, large raw_data of initialisers left out
  // For the i-th initialiser of the graph: what was left out, in the bytes that were given; empty
  // where it is still in the message.
  std::vector<absl::string_view> weights;
};

// Nothing where `model` is no message of this kind: the message library then says what is wrong.
std::optional<SlimModel> LeaveOutWeights(absl::string_view model);

}  // namespace ds::onnx_io
