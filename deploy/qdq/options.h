// Whose rules Q/DQ nodes are placed by, and what is reported of it.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace ds {

// How weights of 2 to 4 bits reach their DequantizeLinear. They are stored as int2 (2 bits) or int4
// (3 and 4) either way; 5 to 8 bits are stored as int8.
enum class SmallWeights {
  // Through a Cast to int8, which ONNX Runtime folds when it loads the model: it then runs at the
  // speed of 8 bits.
  kCast,
  // Directly. ONNX Runtime 1.32 keeps convolutions with such weights in float at 4 bits, and does
  // not load the model at 2.
  kDirect,
};

// Whose rules the nodes are placed by: the two runtimes want opposite things (docs/export.md).
enum class QdqProfile {
  kOnnxRuntime,
  // deploy/tensorrt_exporter.h says how. small_weights has no meaning here.
  kTensorRT,
};

// The words for them, as flags write them.
inline std::vector<std::pair<std::string, QdqProfile>> QdqProfileWords() {
  return {{"onnxruntime", QdqProfile::kOnnxRuntime}, {"tensorrt", QdqProfile::kTensorRT}};
}

struct QdqOptions {
  QdqProfile profile = QdqProfile::kOnnxRuntime;
  SmallWeights small_weights = SmallWeights::kCast;
};

// Whether the runtime of the profile computes a node with integers.
struct NodeFate {
  std::string node;
  std::string op;
  bool quantised = false;
  std::string reason;  // empty where `quantised`

  bool operator==(const NodeFate&) const = default;
};

struct QdqReport {
  // Every node with a floating-point result, in the graph's order; the nodes that InsertQdq adds
  // are not among them.
  std::vector<NodeFate> nodes;
  // Weights some of whose scales were enlarged so that the bias fits 32 bits.
  std::vector<std::string> enlarged;
};

}  // namespace ds
