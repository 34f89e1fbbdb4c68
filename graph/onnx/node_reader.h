// NodeProto -> Node: attributes become the graph's own, with every type checked. What the graph
// cannot hold (subgraphs, sparse tensors, types) is refused by name.
#pragma once

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "graph/onnx/external_data.h"
#include "graph/onnx/proto.h"

namespace ds::onnx_io {

absl::StatusOr<Attributes> AttributesFromProto(const onnx::NodeProto& proto,
                                               ExternalData& external);

// The value of a Constant node, given its attributes.
absl::StatusOr<Tensor> ConstantValue(const Attributes& attributes);

// The attribute is `name`d; its type follows the variant's.
void AttributeToProto(const std::string& name, const Attribute& value, onnx::AttributeProto* proto);

}  // namespace ds::onnx_io
