// What is known of every operator: arity, attributes, shape inference and cost. One table serves
// the importer, both executors and the reports.
#pragma once

#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "graph/graph.h"

namespace ds {

enum class AttributeType { kInt, kFloat, kString, kTensor, kInts, kFloats, kStrings };

struct AttributeSchema {
  std::string name;
  AttributeType type;
  bool required = false;
};

// Elements of small integer values as far as they are known before the graph runs: constants, and
// what is computed from shapes. An element that is not known is < kFirstKnownInt and stands for
// itself: equal marks are equal numbers, except kUnknownInt, which is any number.
using KnownInts = absl::flat_hash_map<ValueId, std::vector<int64_t>>;
inline constexpr int64_t kUnknownInt = INT64_MIN;
inline constexpr int64_t kFirstKnownInt = INT64_MIN / 2;

// What shape inference sees of a node: its graph (for constant inputs), itself, and the integers
// known so far.
struct InferenceContext {
  const Graph& graph;
  const Node& node;
  const KnownInts* known_ints = nullptr;
  // Shape of input i; FailedPrecondition if absent or unknown.
  absl::StatusOr<Shape> InputShape(int i) const;
  bool HasInput(int i) const;
  DType InputDType(int i) const;
};

struct InferredValue {
  DType dtype;
  Shape shape;
};

struct OpSchema {
  std::string name;
  int min_inputs = 0;
  int max_inputs = 0;  // INT_MAX for variadic
  int min_outputs = 1;
  int max_outputs = 1;
  std::vector<AttributeSchema> attributes;
  // Input slots whose float initialisers are trainable when a model is imported (Conv: 1, 2).
  std::vector<int> parameter_inputs;
  absl::StatusOr<std::vector<InferredValue>> (*infer)(const InferenceContext&) = nullptr;
};

// nullptr if the op is not known.
const OpSchema* FindSchema(absl::string_view op);
// Sorted.
std::vector<std::string> SupportedOps();

// The number by which ONNX files, and the attribute `to` of Cast, call an element type (float is
// 1).
int64_t OnnxTypeNumber(DType dtype);
// InvalidArgument for a number that is no element type of ours.
absl::StatusOr<DType> DTypeFromOnnxTypeNumber(int64_t number);

// Fills in dtype and shape of every value from the inputs on. InvalidArgument naming the node, its
// op and the shapes that do not fit.
absl::Status InferShapes(Graph& graph);

// Numpy-style broadcast of two shapes, kDynamicDim allowed.
absl::StatusOr<Shape> BroadcastShapes(absl::Span<const int64_t> a, absl::Span<const int64_t> b);

// Multiply-accumulate operations of one node for one sample (a dynamic extent counts as 1);
// graph/cost.h says what counts, and has the memory traffic beside it.
int64_t MultiplyAccumulates(const Graph& graph, const Node& node);

}  // namespace ds
