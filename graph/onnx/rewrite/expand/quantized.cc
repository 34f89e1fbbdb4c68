#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "graph/onnx/rewrite/emitter.h"
#include "graph/onnx/rewrite/expand/expand.h"
#include "graph/passes/derived.h"
#include "graph/schema/schema.h"

namespace ds::onnx_io {
namespace {

// A damaged file must not make us allocate at will.
constexpr int64_t kMaxSteps = 1 << 20;
constexpr int64_t kMaxExtent = 1 << 30;

// How MatMulNBits packs a matrix of `columns` x `rows`: row by row of its transpose, each cut into
// blocks of equal scale, in codes of 4 or 8 bits, the first one in a byte's low bits.
struct NBits {
  int64_t rows, columns, block, bits;

  int64_t Blocks() const { return (columns + block - 1) / block; }
  int64_t BytesOf(int64_t codes) const { return (codes * bits + 7) / 8; }

  absl::Status Check(const Tensor& codes, const Tensor& scales, const Tensor* zero_points) const {
    if ((bits != 4 && bits != 8) || block < 16 || (block & (block - 1)) != 0 || rows < 1 ||
        columns < 1 || rows > kMaxExtent || columns > kMaxExtent || block > kMaxExtent) {
      return absl::UnimplementedError(absl::StrCat(
          "attributes N ", rows, ", K ", columns, ", bits ", bits, " and block_size ", block,
          " are not supported; bits must be 4 or 8, block_size a power of 2 from 16 on"));
    }
    if (scales.dtype() != DType::kFloat32 || codes.dtype() != DType::kUInt8 ||
        (zero_points != nullptr && zero_points->dtype() != DType::kUInt8)) {
      return absl::UnimplementedError(
          "its scales must be float32, its weights and zero points packed in uint8");
    }
    const int64_t blocks = Blocks();
    if (codes.num_elements() != rows * blocks * BytesOf(block) ||
        scales.num_elements() != rows * blocks ||
        (zero_points != nullptr && zero_points->num_elements() != rows * BytesOf(blocks))) {
      return absl::InvalidArgumentError(absl::StrCat(
          "its weights ", ShapeString(codes.shape()), " and scales ", ShapeString(scales.shape()),
          " do not fit N ", rows, ", K ", columns, " and block_size ", block));
    }
    return absl::OkStatus();
  }

  DType Type() const { return bits == 4 ? DType::kUInt4 : DType::kUInt8; }

  uint8_t Get(const std::byte* from, int64_t i) const {
    if (bits == 8) return std::to_integer<uint8_t>(from[i]);
    return static_cast<uint8_t>(std::to_integer<int>(from[i / 2]) >> (i % 2 * 4) & 15);
  }

  void Put(std::byte* to, int64_t i, uint8_t code) const {
    if (bits == 8) {
      to[i] = std::byte{code};
    } else {
      to[i / 2] |= static_cast<std::byte>(code << (i % 2 * 4));
    }
  }

  Tensor Codes(const Tensor& packed) const {
    Tensor out(Type(), {columns, rows});
    const int64_t row_bytes = Blocks() * BytesOf(block);
    for (int64_t n = 0; n < rows; ++n) {
      const std::byte* row = packed.data() + n * row_bytes;
      for (int64_t k = 0; k < columns; ++k) Put(out.mutable_data(), k * rows + n, Get(row, k));
    }
    return out;
  }

  Tensor Scales(const Tensor& given) const {
    return TransposedMatrix(*given.Reshape({rows, Blocks()}));
  }

  // The middle code where there are none.
  Tensor ZeroPoints(const Tensor* packed) const {
    const int64_t blocks = Blocks();
    Tensor out(Type(), {blocks, rows});
    for (int64_t n = 0; n < rows; ++n) {
      for (int64_t b = 0; b < blocks; ++b) {
        const uint8_t code = packed == nullptr ? static_cast<uint8_t>(1 << (bits - 1))
                                               : Get(packed->data() + n * BytesOf(blocks), b);
        Put(out.mutable_data(), b * rows + n, code);
      }
    }
    return out;
  }
};

class Expansion {
 public:
  Expansion(Graph& graph, const Node& node) : emit_(graph, node), node_(node) {}

  absl::StatusOr<bool> Run() {
    const std::string op(absl::StripPrefix(node_.op, kContribPrefix));
    const bool contrib = op != node_.op;
    if (op == "QLinearConv") return Done(Conv());
    if (op == "QLinearMatMul") return Done(MatMul());
    if (op == "ConvInteger") return Done(ConvInteger());
    if (op == "MatMulInteger") return Done(MatMulInteger());
    if (!contrib) return false;
    if (op == "QLinearAdd" || op == "QLinearMul") return Done(Binary(op.substr(7)));
    if (op == "QLinearSigmoid" || op == "QLinearLeakyRelu") return Done(Unary(op.substr(7)));
    if (op == "QLinearSoftmax") return Done(Softmax());
    if (op == "QLinearGlobalAveragePool") return Done(Pool("GlobalAveragePool"));
    if (op == "QLinearAveragePool") return Done(Pool("AveragePool"));
    if (op == "QLinearConcat") return Done(Concat());
    if (op == "QGemm") return Done(Gemm());
    if (op == "MatMulIntegerToFloat") return Done(MatMulToFloat());
    if (op == "DynamicQuantizeMatMul") return Done(DynamicMatMul());
    if (op == "MatMulNBits") return Done(MatMulBlocks());
    if (op == "QLinearWhere") return Done(Where());
    if (op == "DynamicQuantizeLSTM") {
      DynamicLstm();
      return true;
    }
    if (op == "QuantizeLinear" || op == "DequantizeLinear") {
      emit_.Finish(op, node_.inputs, node_.attributes);
      return true;
    }
    return false;
  }

 private:
  absl::Status Need(size_t inputs) const {
    DS_RETURN_IF_ERROR(emit_.Need(inputs));
    if (node_.outputs.size() != 1) return absl::InvalidArgumentError("it must have one output");
    return absl::OkStatus();
  }

  // Inputs slot (codes), slot + 1 (scale) and slot + 2 (zero point) as reals.
  ValueId Real(size_t slot, int64_t axis = 1) {
    return RealOf(emit_.In(slot), emit_.In(slot + 1), emit_.In(slot + 2), axis);
  }

  ValueId RealOf(ValueId codes, ValueId scale, ValueId zero, int64_t axis = 1) {
    return emit_.Op("DequantizeLinear", {codes, scale, zero}, {{"axis", axis}});
  }

  // `real` as codes by the scale in slot and the zero point in slot + 1: the node's result.
  void Codes(ValueId real, size_t slot) {
    emit_.Finish("QuantizeLinear", {real, emit_.In(slot), emit_.In(slot + 1)});
  }

  ValueId One() { return emit_.Constant("one", Tensor::Scalar(1.0F)); }

  // An int32 bias, whose step is the product of those of input and weight.
  ValueId Bias(size_t slot, size_t x_scale, size_t w_scale) {
    if (!emit_.Has(slot)) return kNoValue;
    const Tensor* x = emit_.ConstantIn(x_scale);
    const Tensor* w = emit_.ConstantIn(w_scale);
    const bool constant = x != nullptr && w != nullptr && x->dtype() == DType::kFloat32 &&
                          w->dtype() == DType::kFloat32 && x->num_elements() == 1;
    ValueId scale = kNoValue;
    if (constant) {
      std::vector<float> product(w->span<float>().begin(), w->span<float>().end());
      for (float& step : product) step *= x->span<float>()[0];
      scale = emit_.Constant("bias_scale", Tensor::From<float>(w->shape(), product));
    } else {
      scale = emit_.Op("Mul", {emit_.In(x_scale), emit_.In(w_scale)});
    }
    return RealOf(emit_.In(slot), scale, kNoValue, 0);
  }

  absl::Status Conv() {
    DS_RETURN_IF_ERROR(Need(8));
    const ValueId x = Real(0);
    const ValueId w = Real(3, 0);
    const ValueId bias = Bias(8, 1, 4);
    Codes(emit_.Op("Conv", {x, w, bias}, node_.attributes), 6);
    return absl::OkStatus();
  }

  // Scales of rows of a and of columns of b lie along their last axes but one and last.
  absl::StatusOr<int64_t> MatrixAxis(size_t slot, int64_t from_end) {
    DS_ASSIGN_OR_RETURN(const Shape shape, emit_.ShapeOf(emit_.In(slot)));
    return std::max<int64_t>(static_cast<int64_t>(shape.size()) - from_end, 0);
  }

  absl::Status MatMul() {
    DS_RETURN_IF_ERROR(Need(8));
    DS_ASSIGN_OR_RETURN(const int64_t rows, MatrixAxis(0, 2));
    DS_ASSIGN_OR_RETURN(const int64_t columns, MatrixAxis(3, 1));
    const ValueId a = Real(0, rows);
    const ValueId b = Real(3, columns);
    Codes(emit_.Op("MatMul", {a, b}), 6);
    return absl::OkStatus();
  }

  // Differences to the zero point, as reals with a step of one; zero points for each index of
  // `axis` have steps of as many.
  absl::StatusOr<ValueId> Shifted(size_t slot, size_t zero, int64_t axis) {
    if (!emit_.Has(zero)) return RealOf(emit_.In(slot), One(), kNoValue);
    DS_ASSIGN_OR_RETURN(const Shape shape, emit_.ShapeOf(emit_.In(zero)));
    if (shape.empty() || shape == Shape{1}) return RealOf(emit_.In(slot), One(), emit_.In(zero));
    if (shape.size() != 1 || shape[0] < 1 || shape[0] > kMaxSteps) {
      return absl::UnimplementedError(
          absl::StrCat("input ", zero, " is a zero point of shape ", ShapeString(shape),
                       "; it must be a scalar, or known and of one axis"));
    }
    const std::vector<float> ones(static_cast<size_t>(shape[0]), 1.0F);
    const ValueId steps = emit_.Constant("ones", Tensor::From<float>(shape, ones));
    return RealOf(emit_.In(slot), steps, emit_.In(zero), axis);
  }

  absl::Status ConvInteger() {
    DS_RETURN_IF_ERROR(Need(2));
    DS_ASSIGN_OR_RETURN(const ValueId x, Shifted(0, 2, 1));
    DS_ASSIGN_OR_RETURN(const ValueId w, Shifted(1, 3, 0));
    const ValueId sum = emit_.Op("Conv", {x, w}, node_.attributes);
    emit_.Finish("Cast", {sum}, {{"to", OnnxTypeNumber(DType::kInt32)}});
    return absl::OkStatus();
  }

  absl::Status MatMulInteger() {
    DS_RETURN_IF_ERROR(Need(2));
    DS_ASSIGN_OR_RETURN(const int64_t rows, MatrixAxis(0, 2));
    DS_ASSIGN_OR_RETURN(const int64_t columns, MatrixAxis(1, 1));
    DS_ASSIGN_OR_RETURN(const ValueId a, Shifted(0, 2, rows));
    DS_ASSIGN_OR_RETURN(const ValueId b, Shifted(1, 3, columns));
    emit_.Finish("Cast", {emit_.Op("MatMul", {a, b})}, {{"to", OnnxTypeNumber(DType::kInt32)}});
    return absl::OkStatus();
  }

  absl::Status Binary(const std::string& op) {
    DS_RETURN_IF_ERROR(Need(2));
    const ValueId a = Real(0);
    const ValueId b = Real(3);
    Codes(emit_.Op(op, {a, b}), 6);
    return absl::OkStatus();
  }

  absl::Status Unary(const std::string& op) {
    DS_RETURN_IF_ERROR(Need(2));
    Codes(emit_.Op(op, {Real(0)}, node_.attributes), 3);
    return absl::OkStatus();
  }

  absl::Status Softmax() {
    DS_RETURN_IF_ERROR(Need(2));
    Attributes attributes = node_.attributes;
    attributes.erase("opset");
    DS_ASSIGN_OR_RETURN(const Shape shape, emit_.ShapeOf(emit_.In(0)));
    const auto rank = static_cast<int64_t>(shape.size());
    const int64_t axis = IntOr(node_, "axis", -1);
    if (IntOr(node_, "opset", 13) < 13 && axis != -1 && axis != rank - 1) {
      return absl::UnimplementedError("over several axes it is not supported; use its last axis");
    }
    Codes(emit_.Op("Softmax", {Real(0)}, attributes), 3);
    return absl::OkStatus();
  }

  absl::Status Pool(const std::string& op) {
    DS_RETURN_IF_ERROR(Need(2));
    Attributes attributes = node_.attributes;
    if (IntOr(node_, "channels_last", 0) != 0) {
      return absl::UnimplementedError("attribute 'channels_last' is supported only as 0");
    }
    attributes.erase("channels_last");
    Codes(emit_.Op(op, {Real(0)}, attributes), 3);
    return absl::OkStatus();
  }

  // Its own scale and zero point come first.
  absl::Status Concat() {
    DS_RETURN_IF_ERROR(Need(5));
    std::vector<ValueId> parts;
    for (size_t slot = 2; slot + 2 < node_.inputs.size(); slot += 3) parts.push_back(Real(slot));
    Codes(emit_.Op("Concat", parts, node_.attributes), 0);
    return absl::OkStatus();
  }

  absl::Status Gemm() {
    DS_RETURN_IF_ERROR(Need(6));
    const ValueId a = Real(0);
    const ValueId b = Real(3, IntOr(node_, "transB", 0) != 0 ? 0 : 1);
    const ValueId bias = Bias(6, 1, 4);
    Attributes attributes = node_.attributes;
    const bool integers = emit_.Has(7);
    if (!integers) {
      emit_.Finish("Gemm", {a, b, bias}, attributes);
    } else {
      Codes(emit_.Op("Gemm", {a, b, bias}, attributes), 7);
    }
    return absl::OkStatus();
  }

  void AddBias(ValueId product, size_t slot) {
    if (emit_.Has(slot)) {
      emit_.Finish("Add", {product, emit_.In(slot)});
    } else {
      emit_.Finish("Identity", {product});
    }
  }

  // Inputs A, B, a_scale, b_scale, a_zero_point, b_zero_point, bias.
  absl::Status MatMulToFloat() {
    DS_RETURN_IF_ERROR(Need(4));
    DS_ASSIGN_OR_RETURN(const int64_t columns, MatrixAxis(1, 1));
    const ValueId a = RealOf(emit_.In(0), emit_.In(2), emit_.In(4));
    const ValueId b = RealOf(emit_.In(1), emit_.In(3), emit_.In(5), columns);
    AddBias(emit_.Op("MatMul", {a, b}), 6);
    return absl::OkStatus();
  }

  // `x` rounded to 256 codes of its own range.
  ValueId Rounded(ValueId x) {
    Graph& graph = emit_.graph();
    std::vector<ValueId> outputs;
    for (const char* what : {"codes", "scale", "zero_point"}) {
      outputs.push_back(graph.AddValue(absl::StrCat(node_.name, ".", what)));
    }
    graph.AddNode({.name = absl::StrCat(node_.name, ".DynamicQuantizeLinear"),
                   .op = "DynamicQuantizeLinear",
                   .inputs = {x},
                   .outputs = outputs});
    return RealOf(outputs[0], outputs[1], outputs[2]);
  }

  // Inputs A, B, b_scale, b_zero_point, bias.
  absl::Status DynamicMatMul() {
    DS_RETURN_IF_ERROR(Need(3));
    DS_ASSIGN_OR_RETURN(const int64_t columns, MatrixAxis(1, 1));
    const ValueId a = Rounded(emit_.In(0));
    const ValueId b = RealOf(emit_.In(1), emit_.In(2), emit_.In(3), columns);
    AddBias(emit_.Op("MatMul", {a, b}), 4);
    return absl::OkStatus();
  }

  // Inputs condition, X, x_scale, x_zero_point, Y, y_scale, y_zero_point, z_scale, z_zero_point.
  absl::Status Where() {
    DS_RETURN_IF_ERROR(Need(9));
    const ValueId x = Real(1);
    const ValueId y = Real(4);
    Codes(emit_.Op("Where", {emit_.In(0), x, y}), 7);
    return absl::OkStatus();
  }

  // Inputs A [.., K], B [N, blocks, bytes of a block], scales [N, blocks], zero points, g_idx,
  // bias.
  absl::Status MatMulBlocks() {
    DS_RETURN_IF_ERROR(Need(3));
    const NBits layout = {.rows = IntOr(node_, "N", 0),
                          .columns = IntOr(node_, "K", 0),
                          .block = IntOr(node_, "block_size", 0),
                          .bits = IntOr(node_, "bits", 4)};
    if (emit_.Has(4)) return absl::UnimplementedError("its input g_idx is not supported");
    const Tensor* codes = emit_.ConstantIn(1);
    const Tensor* scales = emit_.ConstantIn(2);
    if (codes == nullptr || scales == nullptr || (emit_.Has(3) && emit_.ConstantIn(3) == nullptr))
      return absl::UnimplementedError("its weights, scales and zero points must be constants");
    DS_RETURN_IF_ERROR(layout.Check(*codes, *scales, emit_.ConstantIn(3)));
    const ValueId weight =
        emit_.Op("DequantizeLinear",
                 {emit_.Constant("codes", layout.Codes(*codes)),
                  emit_.Constant("scales", layout.Scales(*scales)),
                  emit_.Constant("zero_points", layout.ZeroPoints(emit_.ConstantIn(3)))},
                 {{"axis", int64_t{0}}, {"block_size", layout.block}});
    AddBias(emit_.Op("MatMul", {emit_.In(0), weight}), 5);
    return absl::OkStatus();
  }

  // Kept as it is: no operators of ONNX round a state between steps.
  void DynamicLstm() {
    Node lstm = node_;
    lstm.op = std::string(absl::StripPrefix(node_.op, kContribPrefix));
    emit_.graph().AddNode(std::move(lstm));
  }

  Emitter emit_;
  const Node& node_;
};

}  // namespace

absl::StatusOr<bool> ExpandQuantized(Graph& graph, const Node& node) {
  return Expansion(graph, node).Run();
}

}  // namespace ds::onnx_io
