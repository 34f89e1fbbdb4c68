// The one representation of a network: imported or built once, then trained, quantised and
// executed.
//
// Operators follow ONNX names and semantics at opset 17 (SiLU, HardSwish and Gelu are ops of their
// own; export decomposes what opset 17 lacks). A value is written once (SSA). Nodes are kept in
// topological order. Weights are initialisers: values with a constant tensor, some of them
// trainable.
//
// Not thread-safe while being changed; const use from many threads is fine.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/tensor/tensor.h"

namespace ds {

using ValueId = int32_t;
// An optional input that is absent.
inline constexpr ValueId kNoValue = -1;

using Attribute = std::variant<int64_t, float, std::string, Tensor, std::vector<int64_t>,
                               std::vector<float>, std::vector<std::string>>;
using Attributes = std::map<std::string, Attribute>;

struct Value {
  std::string name;  // unique in its graph, never empty
  DType dtype = DType::kFloat32;
  std::optional<Shape> shape;  // absent until inferred; kDynamicDim for extents known at run time
};

struct Initializer {
  Tensor data;
  bool trainable = false;  // false for BatchNorm's running statistics, shapes, constants
};

struct Node {
  std::string name;             // unique in its graph, for messages and reports
  std::string op;               // "Conv"
  std::vector<ValueId> inputs;  // kNoValue where an optional input is absent
  std::vector<ValueId> outputs;
  Attributes attributes;

  // The attribute, or `fallback` if it is absent. CHECK-fails on another type: schema checks come
  // first.
  int64_t GetInt(const std::string& key, int64_t fallback) const;
  float GetFloat(const std::string& key, float fallback) const;
  std::string GetString(const std::string& key, std::string fallback) const;
  std::vector<int64_t> GetInts(const std::string& key, std::vector<int64_t> fallback) const;
};

class Graph {
 public:
  std::string name;
  std::map<std::string, std::string> metadata;  // free-form, kept by ONNX metadata_props

  // Adds a value; an empty or taken `name` is made unique by a suffix.
  ValueId AddValue(std::string name, DType dtype = DType::kFloat32,
                   std::optional<Shape> shape = {});
  ValueId AddInput(std::string name, DType dtype, Shape shape);
  ValueId AddInitializer(std::string name, Tensor data, bool trainable);
  // Appends a node (outputs are values made by AddValue); returns its index.
  int AddNode(Node node);
  void MarkOutput(ValueId value) { outputs_.push_back(value); }

  const std::vector<Node>& nodes() const { return nodes_; }
  std::vector<Node>& mutable_nodes() { return nodes_; }
  const std::vector<Value>& values() const { return values_; }
  const Value& value(ValueId id) const { return values_.at(static_cast<size_t>(id)); }
  Value& mutable_value(ValueId id) { return values_.at(static_cast<size_t>(id)); }
  const std::vector<ValueId>& inputs() const { return inputs_; }
  const std::vector<ValueId>& outputs() const { return outputs_; }
  std::vector<ValueId>& mutable_inputs() { return inputs_; }
  std::vector<ValueId>& mutable_outputs() { return outputs_; }
  // Ordered by value id, so that every rank and every run sees the same order.
  const std::map<ValueId, Initializer>& initializers() const { return initializers_; }
  std::map<ValueId, Initializer>& mutable_initializers() { return initializers_; }
  bool IsInitializer(ValueId id) const { return initializers_.contains(id); }
  // The constant, or nullptr.
  const Tensor* Constant(ValueId id) const;
  // kNoValue if there is none.
  ValueId FindValue(absl::string_view name) const;
  // Index of the node that makes `id`, or -1 (input or initialiser). Linear in the number of nodes.
  int Producer(ValueId id) const;
  // Indices of the nodes that read `id`. Linear in the number of nodes.
  std::vector<int> Consumers(ValueId id) const;
  void RenameValue(ValueId id, std::string name);
  // Every read of `from` (node inputs and graph outputs) becomes a read of `to`.
  void ReplaceUses(ValueId from, ValueId to);

  // Re-orders the nodes topologically (stable); InvalidArgument naming a node on a cycle.
  absl::Status SortTopologically();
  // Checks ids, single assignment, order, unique names, known ops, arities and attribute types
  // against the schema; one error naming the node.
  absl::Status Validate() const;

  // Number of elements in trainable initialisers.
  int64_t ParameterCount() const;

 private:
  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::vector<ValueId> inputs_;
  std::vector<ValueId> outputs_;
  std::map<ValueId, Initializer> initializers_;
  absl::flat_hash_map<std::string, ValueId> by_name_;
};

}  // namespace ds
