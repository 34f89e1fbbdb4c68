// ConvTranspose.
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "graph/schema/internal.h"
#include "graph/schema/structured/transposed_window.h"

namespace ds::schema {

namespace {

absl::Status CheckChannels(const InferenceContext& context, const Shape& input, const Shape& weight,
                           int64_t group) {
  if (group < 1 || group > (int64_t{1} << 20)) {
    return absl::InvalidArgumentError(
        absl::StrCat("attribute 'group' is ", group, "; it must be 1 to 2^20"));
  }
  if (!MayEqual(input[1], weight[0]) || (!IsDynamic(weight[0]) && weight[0] % group != 0)) {
    return absl::InvalidArgumentError(absl::StrCat("the input has ", input[1],
                                                   " channels but the weight takes ", weight[0],
                                                   " in ", group, " groups"));
  }
  if (!context.HasInput(2)) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(const Shape bias, context.InputShape(2));
  const int64_t channels = IsDynamic(weight[1]) ? kDynamicDim : weight[1] * group;
  if (bias.size() == 1 && MayEqual(bias[0], channels)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the bias has shape ", ShapeString(bias), "; it must be [", channels, "]"));
}

Inferred InferConvTranspose(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(const Shape input, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(const Shape weight, context.InputShape(1));
  if (input.size() < 3 || input.size() > 5 || input.size() != weight.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("input ", ShapeString(input), " and weight ", ShapeString(weight),
                     " must have the same rank, 3 to 5 ([N, C, L], [N, C, H, W] or [N, C, D, H, "
                     "W])"));
  }
  const int64_t group = context.node.GetInt("group", 1);
  DS_RETURN_IF_ERROR(CheckChannels(context, input, weight, group));
  const std::vector<int64_t> kernel(weight.begin() + 2, weight.end());
  if (context.node.GetInts("kernel_shape", kernel) != kernel) {
    return absl::InvalidArgumentError(
        absl::StrCat("attribute 'kernel_shape' does not fit the weight ", ShapeString(weight)));
  }
  DS_ASSIGN_OR_RETURN(
      const TransposedWindow window,
      ResolveTransposedWindow(context.node, kernel, absl::MakeConstSpan(input).subspan(2)));
  Shape out = {input[0], IsDynamic(weight[1]) ? kDynamicDim : weight[1] * group};
  out.insert(out.end(), window.output.begin(), window.output.end());
  return One(context.InputDType(0), std::move(out));
}

}  // namespace

void AddConvTranspose(Table& table) {
  table.push_back(Op("ConvTranspose", 2, 3,
                     {String("auto_pad"), Ints("dilations"), Int("group"), Ints("kernel_shape"),
                      Ints("output_padding"), Ints("output_shape"), Ints("pads"), Ints("strides")},
                     InferConvTranspose));
  table.back().parameter_inputs = {1, 2};
}

}  // namespace ds::schema
