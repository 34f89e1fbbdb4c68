#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/onnx/rewrite/emitter.h"
#include "graph/onnx/rewrite/expand/expand.h"

namespace ds::onnx_io {
namespace {

// A window of more points is no short-time transform, and its matrix would be large.
constexpr int64_t kMostPoints = 4096;

// Cosines and sines of all bins, [2 * bins, parts, points]: what a frame's real (and imaginary)
// parts are multiplied by to give the real parts of all bins, and then their imaginary ones.
// `window`: of each point.
Tensor FourierBasis(int64_t bins, int64_t parts, const std::vector<double>& window) {
  const auto points = static_cast<int64_t>(window.size());
  std::vector<float> basis(static_cast<size_t>(2 * bins * parts * points));
  const auto set = [&](int64_t row, int64_t part, int64_t point, double value) {
    value *= window[static_cast<size_t>(point)];
    basis[static_cast<size_t>((row * parts + part) * points + point)] = static_cast<float>(value);
  };
  for (int64_t bin = 0; bin < bins; ++bin) {
    for (int64_t point = 0; point < points; ++point) {
      // Whole turns taken out before floating point sees them.
      const double angle = 2 * std::numbers::pi * static_cast<double>(bin * point % points) /
                           static_cast<double>(points);
      set(bin, 0, point, std::cos(angle));
      set(bins + bin, 0, point, -std::sin(angle));
      if (parts < 2) continue;
      set(bin, 1, point, std::sin(angle));
      set(bins + bin, 1, point, std::cos(angle));
    }
  }
  return Tensor::From<float>({2 * bins, parts, points}, basis);
}

class Spectrogram {
 public:
  Spectrogram(Graph& graph, const Node& node) : emit_(graph, node) {}

  absl::Status Run() {
    DS_RETURN_IF_ERROR(emit_.Need(2));
    DS_ASSIGN_OR_RETURN(const Shape signal, emit_.ShapeOf(emit_.In(0)));
    const bool is_flat = signal.size() == 2;  // ONNX Runtime takes it as real
    const int64_t parts = is_flat ? 1 : signal.back();
    if ((!is_flat && signal.size() != 3) || (parts != 1 && parts != 2)) {
      return absl::InvalidArgumentError(
          absl::StrCat("its signal has the shape ", ShapeString(signal),
                       "; it must be [batch, length, 1 or 2 (real, imaginary)]"));
    }
    DS_ASSIGN_OR_RETURN(const int64_t step, KnownInt(1, "frame_step"));
    DS_ASSIGN_OR_RETURN(const int64_t points, Points());
    const bool one_sided = IntOr(emit_.node(), "onesided", 1) != 0;
    if (one_sided && parts == 2)
      return absl::InvalidArgumentError("attribute 'onesided' must be 0 for a complex signal");
    const int64_t bins = one_sided ? points / 2 + 1 : points;
    DS_ASSIGN_OR_RETURN(const ValueId weight, Weight(bins, parts, points));
    const auto ints = [this](const std::string& what, std::vector<int64_t> values) {
      const auto count = static_cast<int64_t>(values.size());
      return emit_.Constant(what, Tensor::From<int64_t>({count}, values));
    };
    ValueId rows = emit_.In(0);  // [batch, parts, length]
    if (parts == 2) {
      rows = emit_.Op("Transpose", {rows}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
    } else {
      rows = emit_.Op("Reshape", {rows, ints("rows", {0, 1, -1})});
    }
    const ValueId all = emit_.Op("Conv", {rows, weight}, {{"strides", std::vector<int64_t>{step}}});
    const ValueId apart = emit_.Op("Reshape", {all, ints("parts", {0, 2, bins, -1})});
    emit_.Finish("Transpose", {apart}, {{"perm", std::vector<int64_t>{0, 3, 2, 1}}});
    return absl::OkStatus();
  }

 private:
  // An input of one positive integer that is known before the model runs.
  absl::StatusOr<int64_t> KnownInt(size_t slot, const std::string& name) {
    KnownInts known;
    DS_RETURN_IF_ERROR(emit_.InferTo(emit_.In(slot), known));
    const auto found = known.find(emit_.In(slot));
    if (found == known.end() || found->second.size() != 1 || found->second[0] < kFirstKnownInt) {
      return absl::UnimplementedError(
          absl::StrCat("its ", name, " is not known before the model runs; make it a constant"));
    }
    if (found->second[0] < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("its ", name, " is ", found->second[0], "; it must be positive"));
    }
    return found->second[0];
  }

  // Of a frame: as many as the window has.
  absl::StatusOr<int64_t> Points() {
    int64_t points = kDynamicDim;
    if (emit_.Has(2)) {
      DS_ASSIGN_OR_RETURN(const Shape window, emit_.ShapeOf(emit_.In(2)));
      if (window.size() != 1) {
        return absl::InvalidArgumentError(absl::StrCat(
            "its window has the shape ", ShapeString(window), "; it must have one axis"));
      }
      points = window[0];
    }
    if (emit_.Has(3)) {
      DS_ASSIGN_OR_RETURN(const int64_t length, KnownInt(3, "frame_length"));
      if (points != kDynamicDim && points != length) {
        return absl::InvalidArgumentError(
            absl::StrCat("its window has ", points, " points, but frame_length is ", length));
      }
      points = length;
    }
    if (points == kDynamicDim) {
      return absl::UnimplementedError(
          "it has neither a frame_length nor a window of known length; give it one");
    }
    if (points < 1 || points > kMostPoints) {
      return absl::UnimplementedError(absl::StrCat("its frames have ", points, " points; 1 to ",
                                                   kMostPoints, " are supported"));
    }
    return points;
  }

  // The window goes into the matrix.
  absl::StatusOr<ValueId> Weight(int64_t bins, int64_t parts, int64_t points) {
    std::vector<double> window(static_cast<size_t>(points), 1.0);
    const Tensor* constant = emit_.ConstantIn(2);
    const bool is_read = constant != nullptr && constant->dtype() == DType::kFloat32;
    if (is_read) std::ranges::copy(constant->span<float>(), window.begin());
    ValueId weight = emit_.Constant("basis", FourierBasis(bins, parts, window));
    const DType type = emit_.graph().value(emit_.In(0)).dtype;
    if (type != DType::kFloat32)
      weight = emit_.Op("Cast", {weight}, {{"to", OnnxTypeNumber(type)}});
    return emit_.Has(2) && !is_read ? emit_.Op("Mul", {weight, emit_.In(2)}) : weight;
  }

  Emitter emit_;
};

}  // namespace

absl::StatusOr<bool> ExpandSpectra(Graph& graph, const Node& node) {
  if (node.op != "STFT") return false;
  return Done(Spectrogram(graph, node).Run());
}

}  // namespace ds::onnx_io
