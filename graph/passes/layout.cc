// Weights arranged anew, byte for byte; a transformer may have hundreds of megabytes of them.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/tensor/float16.h"
#include "graph/passes/derived.h"

namespace ds {
namespace {

// Both a tile's rows and its columns stay in the first-level cache.
constexpr int64_t kTile = 32;

template <typename T>
void TransposeMatrix(const T* from, T* to, int64_t rows, int64_t columns) {
  for (int64_t top = 0; top < rows; top += kTile) {
    for (int64_t left = 0; left < columns; left += kTile) {
      const int64_t bottom = std::min(rows, top + kTile), right = std::min(columns, left + kTile);
      for (int64_t j = left; j < right; ++j) {
        for (int64_t i = top; i < bottom; ++i) to[j * rows + i] = from[i * columns + j];
      }
    }
  }
}

template <typename T>
void Permute(const Tensor& from, const std::vector<int64_t>& perm, Tensor& to) {
  const T* source = reinterpret_cast<const T*>(from.data());
  T* target = reinterpret_cast<T*>(to.mutable_data());
  if (perm.size() == 2) {
    if (perm[0] == 0) {
      std::memcpy(target, source, static_cast<size_t>(from.size_bytes()));
    } else {
      TransposeMatrix(source, target, from.dim(0), from.dim(1));
    }
    return;
  }
  Shape steps(perm.size(), 1);
  for (size_t i = perm.size(); i-- > 1;) steps[i - 1] = steps[i] * from.dim(static_cast<int>(i));
  Shape strides;
  for (const int64_t axis : perm) strides.push_back(steps[axis]);
  Shape index(perm.size(), 0);
  int64_t offset = 0;
  for (int64_t i = 0; i < from.num_elements(); ++i) {
    target[i] = source[offset];
    for (size_t axis = perm.size(); axis-- > 0;) {
      offset += strides[axis];
      if (++index[axis] < to.dim(static_cast<int>(axis))) break;
      offset -= strides[axis] * to.dim(static_cast<int>(axis));
      index[axis] = 0;
    }
  }
}

std::optional<Tensor> Transposed(const Node& node, const Tensor& from, const Shape& shape) {
  std::vector<int64_t> perm(shape.size());
  std::iota(perm.rbegin(), perm.rend(), 0);
  perm = node.GetInts("perm", perm);
  if (perm.empty()) return from;
  absl::StatusOr<Tensor> to = Tensor::Create(from.dtype(), shape);
  if (!to.ok()) return std::nullopt;
  switch (BitWidth(from.dtype())) {
    case 16:
      Permute<uint16_t>(from, perm, *to);
      return *std::move(to);
    case 32:
      Permute<uint32_t>(from, perm, *to);
      return *std::move(to);
    case 64:
      Permute<uint64_t>(from, perm, *to);
      return *std::move(to);
    default:
      return std::nullopt;
  }
}

template <typename From, typename To>
void Convert(const Tensor& from, Tensor& to) {
  const From* source = reinterpret_cast<const From*>(from.data());
  To* target = reinterpret_cast<To*>(to.mutable_data());
  for (int64_t i = 0; i < from.num_elements(); ++i) {
    if constexpr (std::is_same_v<From, double>) {
      target[i] = static_cast<To>(source[i]);
    } else {
      target[i] = static_cast<To>(static_cast<float>(source[i]));
    }
  }
}

template <typename To>
bool ConvertTo(const Tensor& from, Tensor& to) {
  switch (from.dtype()) {
    case DType::kFloat16:
      Convert<Float16, To>(from, to);
      return true;
    case DType::kBFloat16:
      Convert<BFloat16, To>(from, to);
      return true;
    case DType::kFloat32:
      Convert<float, To>(from, to);
      return true;
    case DType::kFloat64:
      Convert<double, To>(from, to);
      return true;
    default:
      return false;
  }
}

std::optional<Tensor> Converted(const Tensor& from, DType type) {
  if (from.dtype() == type) return from;
  if (type != DType::kFloat32 && type != DType::kFloat64) return std::nullopt;
  absl::StatusOr<Tensor> to = Tensor::Create(type, from.shape());
  if (!to.ok()) return std::nullopt;
  const bool done =
      type == DType::kFloat32 ? ConvertTo<float>(from, *to) : ConvertTo<double>(from, *to);
  return done ? std::optional<Tensor>(*std::move(to)) : std::nullopt;
}

}  // namespace

Tensor TransposedMatrix(const Tensor& matrix) {
  return Transposed(Node{}, matrix, {matrix.dim(1), matrix.dim(0)}).value();
}

bool IsLayout(const Graph& graph, const Node& node) {
  const std::string& op = node.op;
  if (op == "Cast") {
    const DType to = graph.value(node.outputs[0]).dtype;
    return IsFloatingPoint(graph.value(node.inputs[0]).dtype) &&
           (to == DType::kFloat32 || to == DType::kFloat64);
  }
  return op == "Transpose" || op == "Reshape" || op == "Flatten" || op == "Squeeze" ||
         op == "Unsqueeze" || op == "Identity";
}

std::optional<Tensor> ComputeLayout(const Graph& graph, const Node& node) {
  const Tensor* from = node.inputs.empty() ? nullptr : graph.Constant(node.inputs[0]);
  const Value& out = graph.value(node.outputs[0]);
  if (from == nullptr || !out.shape.has_value()) return std::nullopt;
  if (node.op == "Transpose") return Transposed(node, *from, *out.shape);
  if (node.op == "Cast") return Converted(*from, out.dtype);
  absl::StatusOr<Tensor> same = from->Reshape(*out.shape);
  return same.ok() ? std::optional<Tensor>(*std::move(same)) : std::nullopt;
}

}  // namespace ds
