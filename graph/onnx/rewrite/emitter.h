// Appends the nodes that one node of a file becomes.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "graph/schema/schema.h"

namespace ds::onnx_io {

// An attribute whose type the schema has not checked; `fallback` where it is absent or of another
// type, which the schema then refuses.
int64_t IntOr(const Node& node, const std::string& key, int64_t fallback);
float FloatOr(const Node& node, const std::string& key, float fallback);

// What an expansion answers: that the node is done, or why it cannot be.
inline absl::StatusOr<bool> Done(const absl::Status& status) {
  if (!status.ok()) return status;
  return true;
}

class Emitter {
 public:
  // Both must outlive this; names are made of `like`'s.
  Emitter(Graph& graph, const Node& like) : graph_(graph), like_(like) {}

  bool Has(size_t slot) const {
    return slot < like_.inputs.size() && like_.inputs[slot] != kNoValue;
  }
  // Input `slot`, kNoValue where it is absent.
  ValueId In(size_t slot) const { return Has(slot) ? like_.inputs[slot] : kNoValue; }
  const Tensor* ConstantIn(size_t slot) const {
    return Has(slot) ? graph_.Constant(like_.inputs[slot]) : nullptr;
  }

  // Its name says that it is no parameter (own_names.h), also when our own file is read again.
  ValueId Constant(const std::string& what, Tensor tensor);
  // The number in the type of `like`: operators do not convert.
  absl::StatusOr<ValueId> Number(const std::string& what, float number, ValueId like);
  // A node of one output, which is returned.
  ValueId Op(const std::string& op, std::vector<ValueId> inputs, Attributes attributes = {});
  // The node that writes output `slot` of the node that is replaced.
  void Finish(const std::string& op, std::vector<ValueId> inputs, Attributes attributes = {},
              size_t slot = 0);
  // Infers what is in the graph so far, up to the value; `known`: the integers that it comes to
  // know.
  absl::Status InferTo(ValueId value, KnownInts& known);
  // Shape of a value, after that.
  absl::StatusOr<Shape> ShapeOf(ValueId value);
  // InvalidArgument where one of the first `inputs` inputs is absent.
  absl::Status Need(size_t inputs) const;

  Graph& graph() { return graph_; }
  const Node& node() const { return like_; }

 private:
  Graph& graph_;
  const Node& like_;
};

}  // namespace ds::onnx_io
