#include "graph/builder.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "graph/initialization.h"
#include "graph/schema/known_ints.h"
#include "graph/schema/nearest_ops.h"

namespace ds {

Builder::Builder(std::string graph_name, uint64_t seed) : seed_(seed) {
  graph_.name = std::move(graph_name);
}

void Builder::Fail(absl::Status status) {
  if (status_.ok()) {
    status_ = Annotate(status, absl::StrCat("while building '", graph_.name, "'"));
  }
}

ValueId Builder::Input(const std::string& name, DType dtype, Shape shape) {
  if (!ok()) return kNoValue;
  return graph_.AddInput(name, dtype, std::move(shape));
}

void Builder::Output(ValueId x, const std::string& name) {
  if (!ok()) return;
  if (graph_.FindValue(name) != kNoValue && graph_.FindValue(name) != x) {
    Fail(absl::InvalidArgumentError(
        absl::StrCat("the output name '", name, "' is taken by another value; choose another")));
    return;
  }
  graph_.RenameValue(x, name);
  graph_.MarkOutput(x);
}

std::string Builder::NodeName(const std::string& wanted, const std::string& op) {
  return wanted.empty() ? absl::StrCat(op, "_", op_counts_[op]++) : wanted;
}

ValueId Builder::Op(const std::string& op, std::vector<ValueId> inputs, Attributes attributes,
                    const std::string& name) {
  return MultiOp(op, std::move(inputs), 1, std::move(attributes), name).front();
}

std::vector<ValueId> Builder::MultiOp(const std::string& op, std::vector<ValueId> inputs, int count,
                                      Attributes attributes, const std::string& name) {
  std::vector<ValueId> outputs(count, kNoValue);
  if (!ok()) return outputs;
  Node node{.name = NodeName(name, op),
            .op = op,
            .inputs = std::move(inputs),
            .outputs = {},
            .attributes = std::move(attributes)};
  const OpSchema* schema = FindSchema(op);
  if (schema == nullptr) {
    Fail(absl::UnimplementedError(
        absl::StrCat("op ", op, " of node '", node.name, "' is not supported", NearestOps(op))));
    return outputs;
  }
  for (int i = 0; i < count; ++i) {
    outputs[i] = graph_.AddValue(count == 1 ? absl::StrCat(node.name, ".out")
                                            : absl::StrCat(node.name, ".out", i));
  }
  node.outputs = outputs;
  const InferenceContext context{graph_, node, &known_};
  auto inferred = schema->infer(context);
  if (!inferred.ok()) {
    Fail(Annotate(inferred.status(), absl::StrCat("node '", node.name, "' (", op, ")")));
    return std::vector<ValueId>(count, kNoValue);
  }
  for (size_t i = 0; i < outputs.size() && i < inferred->size(); ++i) {
    graph_.mutable_value(outputs[i]).dtype = (*inferred)[i].dtype;
    graph_.mutable_value(outputs[i]).shape = (*inferred)[i].shape;
  }
  EvaluateKnownInts(context, known_);
  graph_.AddNode(std::move(node));
  return outputs;
}

ValueId Builder::AddInitializer(const std::string& name, Tensor data, bool trainable) {
  if (!ok()) return kNoValue;
  if (graph_.FindValue(name) != kNoValue) {
    Fail(absl::InvalidArgumentError(
        absl::StrCat("the name '", name, "' is used twice; give each layer its own")));
    return kNoValue;
  }
  const ValueId id = graph_.AddInitializer(name, std::move(data), trainable);
  RememberConstant(id, *graph_.Constant(id), known_);
  return id;
}

ValueId Builder::Parameter(const std::string& name, Tensor data) {
  return AddInitializer(name, std::move(data), true);
}

ValueId Builder::Constant(const std::string& name, Tensor data) {
  return AddInitializer(name, std::move(data), false);
}

ValueId Builder::Ints(const std::vector<int64_t>& numbers) {
  const std::string name = absl::StrCat("ints:", absl::StrJoin(numbers, ","));
  const ValueId known = graph_.FindValue(name);
  if (known != kNoValue) return known;
  return Constant(name, Tensor::From<int64_t>({static_cast<int64_t>(numbers.size())}, numbers));
}

ValueId Builder::Scalar(float number) {
  const std::string name = absl::StrCat("scalar:", number);
  const ValueId known = graph_.FindValue(name);
  // Two numbers that print alike must not share one constant.
  if (known != kNoValue && graph_.Constant(known)->span<float>()[0] == number) return known;
  return Constant(known == kNoValue ? name : absl::StrCat(name, "#", graph_.values().size()),
                  Tensor::Scalar<float>(number));
}

ValueId Builder::Conv(ValueId x, const std::string& name, const ConvOptions& options) {
  const int64_t in = Extent(x, 1);
  if (!ok()) return kNoValue;
  if (options.groups < 1 || options.channels < 1 || options.kernel < 1 || in < 1 ||
      in % options.groups != 0) {
    Fail(absl::InvalidArgumentError(absl::StrCat(
        "Conv '", name, "': ", in, " input channels, ", options.channels, " output channels, ",
        options.groups, " groups and kernel ", options.kernel,
        " do not fit; all must be positive and the groups divide the input channels")));
    return kNoValue;
  }
  const int64_t k = options.kernel;
  const int64_t pad = options.padding >= 0 ? options.padding : (k - 1) / 2 * options.dilation;
  const int64_t fan_in = in / options.groups * k * k;
  const std::string weight = name + ".weight";
  std::vector<ValueId> inputs = {
      x, Parameter(weight,
                   HeFanOutWeights({options.channels, in / options.groups, k, k}, seed_, weight))};
  if (options.bias) {
    const std::string bias = name + ".bias";
    inputs.push_back(
        Parameter(bias, UniformWeights({options.channels},
                                       1.0 / std::sqrt(static_cast<double>(fan_in)), seed_, bias)));
  }
  using List = std::vector<int64_t>;
  return Op("Conv", std::move(inputs),
            {{"kernel_shape", List{k, k}},
             {"strides", List{options.stride, options.stride}},
             {"pads", List{pad, pad, pad, pad}},
             {"dilations", List{options.dilation, options.dilation}},
             {"group", options.groups}},
            name);
}

ValueId Builder::BatchNorm(ValueId x, const std::string& name, float momentum, float epsilon,
                           float gamma) {
  const int64_t channels = Extent(x, 1);
  if (!ok()) return kNoValue;
  return Op("BatchNormalization",
            {x, Parameter(name + ".weight", FilledWeights({channels}, gamma)),
             Parameter(name + ".bias", FilledWeights({channels}, 0.0f)),
             Constant(name + ".running_mean", FilledWeights({channels}, 0.0f)),
             Constant(name + ".running_var", FilledWeights({channels}, 1.0f))},
            {{"epsilon", epsilon}, {"momentum", momentum}}, name);
}

ValueId Builder::Linear(ValueId x, const std::string& name, int64_t out) {
  const int64_t in = Extent(x, 1);
  if (!ok()) return kNoValue;
  if (in < 1 || out < 1) {
    Fail(absl::InvalidArgumentError(absl::StrCat("Linear '", name, "' from ", in, " to ", out,
                                                 " features; both must be known and positive")));
    return kNoValue;
  }
  const double bound = 1.0 / std::sqrt(static_cast<double>(in));
  const std::string weight = name + ".weight";
  const std::string bias = name + ".bias";
  return Op("Gemm",
            {x, Parameter(weight, UniformWeights({out, in}, bound, seed_, weight)),
             Parameter(bias, UniformWeights({out}, bound, seed_, bias))},
            {{"transB", int64_t{1}}}, name);
}

ValueId Builder::TokenLinear(ValueId x, const std::string& name, int64_t out, double deviation) {
  const int64_t in = Extent(x, -1);
  if (!ok()) return kNoValue;
  const std::string weight = name + ".weight";
  const ValueId product =
      Op("MatMul", {x, Parameter(weight, NormalWeights({in, out}, deviation, seed_, weight))}, {},
         name);
  return Op("Add", {product, Parameter(name + ".bias", FilledWeights({out}, 0.0f))}, {},
            name + ".add");
}

ValueId Builder::LayerNorm(ValueId x, const std::string& name, float epsilon) {
  const int64_t width = Extent(x, -1);
  if (!ok()) return kNoValue;
  return Op("LayerNormalization",
            {x, Parameter(name + ".weight", FilledWeights({width}, 1.0f)),
             Parameter(name + ".bias", FilledWeights({width}, 0.0f))},
            {{"axis", int64_t{-1}}, {"epsilon", epsilon}}, name);
}

ValueId Builder::Pool(const std::string& op, ValueId x, const PoolOptions& options,
                      Attributes extra) {
  using List = std::vector<int64_t>;
  const int64_t pad = options.padding;
  extra["kernel_shape"] = List{options.kernel, options.kernel};
  extra["strides"] = List{options.stride, options.stride};
  extra["pads"] = List{pad, pad, pad, pad};
  if (options.ceil_mode) extra["ceil_mode"] = int64_t{1};
  return Op(op, {x}, std::move(extra));
}

ValueId Builder::MaxPool(ValueId x, const PoolOptions& options) {
  return Pool("MaxPool", x, options, {});
}

ValueId Builder::AveragePool(ValueId x, const PoolOptions& options) {
  return Pool("AveragePool", x, options,
              {{"count_include_pad", int64_t{options.count_include_pad}}});
}

ValueId Builder::Dropout(ValueId x, double ratio) {
  if (ratio == 0.0) return x;
  if (!(ratio > 0.0 && ratio < 1.0)) {
    Fail(absl::InvalidArgumentError(
        absl::StrCat("the dropout ratio ", ratio, " must be at least 0 and below 1")));
    return kNoValue;
  }
  return Op("Dropout", {x, Scalar(static_cast<float>(ratio))});
}

int64_t Builder::Extent(ValueId x, int axis) const {
  if (!ok() || x == kNoValue) return 0;
  const auto& shape = graph_.value(x).shape;
  const int rank = shape.has_value() ? static_cast<int>(shape->size()) : 0;
  const int index = axis < 0 ? axis + rank : axis;
  return index >= 0 && index < rank ? (*shape)[index] : 0;
}

absl::StatusOr<Graph> Builder::Finish() {
  DS_RETURN_IF_ERROR(status_);
  DS_RETURN_IF_ERROR(InferShapes(graph_));
  return std::exchange(graph_, Graph());
}

}  // namespace ds
