// Operators with weights that multiply: Conv, Gemm and MatMul.
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/schema/internal.h"
#include "graph/schema/window.h"

namespace ds::schema {

namespace {

absl::Status CheckBias(const InferenceContext& context, int i, int64_t channels) {
  if (!context.HasInput(i)) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(Shape bias, context.InputShape(i));
  if (bias.size() == 1 && MayEqual(bias[0], channels)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the bias has shape ", ShapeString(bias), "; it must be [", channels, "]"));
}

absl::Status CheckConvChannels(const Shape& input, const Shape& weight, int64_t group) {
  if (group < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("attribute 'group' is ", group, "; it must be 1 or more"));
  }
  if (!IsDynamic(weight[0]) && weight[0] % group != 0) {
    return absl::InvalidArgumentError(absl::StrCat("the ", weight[0], " output channels cannot be ",
                                                   "split into ", group, " groups"));
  }
  if (IsDynamic(input[1]) || IsDynamic(weight[1])) return absl::OkStatus();
  if (input[1] % group != 0 || input[1] / group != weight[1]) {
    return absl::InvalidArgumentError(absl::StrCat("the input has ", input[1], " channels in ",
                                                   group, " groups but the weight takes ",
                                                   weight[1], " channels a group"));
  }
  return absl::OkStatus();
}

Inferred InferConv(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape input, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(Shape weight, context.InputShape(1));
  if (input.size() < 3 || input.size() != weight.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("input ", ShapeString(input), " and weight ", ShapeString(weight),
                     " must have the same rank, 3 or more ([N, C, L] or [N, C, H, W])"));
  }
  DS_RETURN_IF_ERROR(CheckConvChannels(input, weight, context.node.GetInt("group", 1)));
  DS_RETURN_IF_ERROR(CheckBias(context, 2, weight[0]));
  const auto spatial = absl::MakeConstSpan(input).subspan(2);
  const std::vector<int64_t> kernel(weight.begin() + 2, weight.end());
  if (context.node.GetInts("kernel_shape", kernel) != kernel) {
    return absl::InvalidArgumentError(
        absl::StrCat("attribute 'kernel_shape' does not fit the weight ", ShapeString(weight)));
  }
  DS_ASSIGN_OR_RETURN(Window window, ResolveWindow(context.node, kernel, spatial));
  Shape out = {input[0], weight[0]};
  out.insert(out.end(), window.output.begin(), window.output.end());
  return One(context.InputDType(0), std::move(out));
}

Inferred InferGemm(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape a, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(Shape b, context.InputShape(1));
  if (a.size() != 2 || b.size() != 2) {
    return absl::InvalidArgumentError(absl::StrCat("A ", ShapeString(a), " and B ", ShapeString(b),
                                                   " must be matrices; flatten A first"));
  }
  if (context.node.GetInt("transA", 0) != 0) std::swap(a[0], a[1]);
  if (context.node.GetInt("transB", 0) != 0) std::swap(b[0], b[1]);
  if (!MayEqual(a[1], b[0])) {
    return absl::InvalidArgumentError(absl::StrCat("the inner extents ", a[1], " and ", b[0],
                                                   " (after transA and transB) differ"));
  }
  const Shape out = {a[0], b[1]};
  if (context.HasInput(2)) {
    DS_ASSIGN_OR_RETURN(Shape c, context.InputShape(2));
    const auto both = BroadcastShapes(out, c);
    const bool grows = both.ok() && (both->size() != 2 || !MayEqual((*both)[0], out[0]) ||
                                     !MayEqual((*both)[1], out[1]));
    if (!both.ok() || grows) {
      return absl::InvalidArgumentError(absl::StrCat(
          "C ", ShapeString(c), " cannot be broadcast to the product's ", ShapeString(out)));
    }
  }
  return One(context.InputDType(0), out);
}

Inferred InferMatMul(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(Shape a, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(Shape b, context.InputShape(1));
  if (a.empty() || b.empty()) {
    return absl::InvalidArgumentError("a scalar cannot be multiplied as a matrix; use Mul");
  }
  // A vector counts as a row on the left and as a column on the right; that extent is dropped
  // again.
  const bool row = a.size() == 1;
  const bool column = b.size() == 1;
  if (row) a.insert(a.begin(), 1);
  if (column) b.push_back(1);
  if (!MayEqual(a[a.size() - 1], b[b.size() - 2])) {
    return absl::InvalidArgumentError(
        absl::StrCat("the inner extents ", a[a.size() - 1], " and ", b[b.size() - 2], " differ"));
  }
  DS_ASSIGN_OR_RETURN(Shape out, BroadcastShapes(absl::MakeConstSpan(a).subspan(0, a.size() - 2),
                                                 absl::MakeConstSpan(b).subspan(0, b.size() - 2)));
  if (!row) out.push_back(a[a.size() - 2]);
  if (!column) out.push_back(b[b.size() - 1]);
  return One(context.InputDType(0), std::move(out));
}

}  // namespace

void AddLinear(Table& table) {
  table.push_back(Op("Conv", 2, 3,
                     {String("auto_pad"), Ints("dilations"), Int("group"), Ints("kernel_shape"),
                      Ints("pads"), Ints("strides")},
                     InferConv));
  table.back().parameter_inputs = {1, 2};
  table.push_back(
      Op("Gemm", 2, 3, {Float("alpha"), Float("beta"), Int("transA"), Int("transB")}, InferGemm));
  table.back().parameter_inputs = {1, 2};
  table.push_back(Op("MatMul", 2, 2, {}, InferMatMul));
  table.back().parameter_inputs = {0, 1};
}

}  // namespace ds::schema
