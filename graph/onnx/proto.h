// The ONNX protobuf classes and the small things every source that touches them needs. Never included by a
// public header: protobuf stays inside this folder (see CMakeLists.txt for why that matters).
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/dtype.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#include "onnx-ml.pb.h"
#pragma GCC diagnostic pop

namespace ds::onnx_io {

// Newest ai.onnx opset and IR whose operators this importer was checked against.
inline constexpr int kOldestOpset = 11;
inline constexpr int kNewestOpset = 28;
inline constexpr int kNewestIrVersion = 14;

// TensorProto.DataType as the specification numbers it. Kept here because older onnx-ml.proto files lack
// the sub-byte types.
enum DataType : int {
  kFloat = 1, kUint8 = 2, kInt8 = 3, kUint16 = 4, kInt16 = 5, kInt32 = 6, kInt64 = 7, kString = 8,
  kBool = 9, kFloat16 = 10, kDouble = 11, kUint32 = 12, kUint64 = 13, kBfloat16 = 16,
  kUint4 = 21, kInt4 = 22, kUint2 = 25, kInt2 = 26,
};

// Unimplemented for the types the graph has no counterpart of (string, complex, float8, float4).
absl::StatusOr<DType> DTypeFromOnnx(int data_type);
int DTypeToOnnx(DType dtype);

// A name taken from a file, made fit for a one-line message: quoted, escaped, cut where it is long.
std::string Quoted(absl::string_view name);

}  // namespace ds::onnx_io
