// Reading a node before it is checked against the schema: what is wrong with it is an error, not a
// programming error. For the normaliser's files.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/graph.h"

namespace ds::onnx_io {

inline bool HasInput(const Node& node, size_t slot) {
  return slot < node.inputs.size() && node.inputs[slot] != kNoValue;
}

template <typename T>
absl::StatusOr<T> Get(const Node& node, const std::string& key, T fallback) {
  auto it = node.attributes.find(key);
  if (it == node.attributes.end()) return fallback;
  const T* held = std::get_if<T>(&it->second);
  if (held == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("attribute \"", key, "\" has the wrong type"));
  }
  return *held;
}

// Drops an attribute the graph does not have, if it has the value that changes nothing.
template <typename T>
absl::Status DropIfNeutral(Node& node, const std::string& key, const T& neutral) {
  DS_ASSIGN_OR_RETURN(const T value, Get<T>(node, key, neutral));
  if (value != neutral) {
    return absl::UnimplementedError(absl::StrCat(
        "attribute \"", key, "\" is supported only with its default value; export without it"));
  }
  node.attributes.erase(key);
  return absl::OkStatus();
}

inline absl::StatusOr<int64_t> InRange(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank) {
    return absl::InvalidArgumentError(
        absl::StrCat("axis ", axis, " is outside the ", rank, " dimensions of its input"));
  }
  return axis < 0 ? axis + rank : axis;
}

inline Tensor Ints(const std::vector<int64_t>& numbers) {
  return Tensor::From<int64_t>({static_cast<int64_t>(numbers.size())}, numbers);
}

}  // namespace ds::onnx_io
