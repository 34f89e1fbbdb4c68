// LSTM, GRU and RNN. The importer has turned layout 1 into layout 0 with transposes. ONNX Runtime's
// DynamicQuantizeLSTM has integer weights whose last two axes are exchanged.
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "graph/schema/internal.h"

namespace ds::schema {

namespace {

constexpr char kDynamicLstm[] = "DynamicQuantizeLSTM";
// Its inputs behind those of LSTM: scale and zero point of W, then those of R.
constexpr int kScaleOfW = 8, kScaleOfR = 10, kDynamicInputs = 12;

bool IsLstm(const std::string& op) { return op == "LSTM" || op == kDynamicLstm; }

int64_t GateCount(const std::string& op) { return IsLstm(op) ? 4 : op == "GRU" ? 3 : 1; }

std::vector<std::string> DefaultActivations(const std::string& op) {
  if (IsLstm(op)) return {"sigmoid", "tanh", "tanh"};
  if (op == "GRU") return {"sigmoid", "tanh"};
  return {"tanh"};
}

// Only RNN has a choice: PyTorch's has Relu, too.
bool IsSupportedActivation(const std::string& op, const std::string& given,
                           const std::string& usual) {
  return given == usual || (op == "RNN" && (given == "relu" || given == "sigmoid"));
}

absl::Status CheckActivations(const Node& node, int64_t directions) {
  auto it = node.attributes.find("activations");
  if (it == node.attributes.end()) return absl::OkStatus();
  const auto& given = std::get<std::vector<std::string>>(it->second);
  const std::vector<std::string> usual = DefaultActivations(node.op);
  if (given.size() != usual.size() * static_cast<size_t>(directions)) {
    return absl::InvalidArgumentError(absl::StrCat("attribute 'activations' has ", given.size(),
                                                   " names; ", usual.size(),
                                                   " are needed for each direction"));
  }
  for (size_t i = 0; i < given.size(); ++i) {
    if (IsSupportedActivation(node.op, absl::AsciiStrToLower(given[i]), usual[i % usual.size()])) {
      continue;
    }
    return absl::UnimplementedError(absl::StrCat(
        "activation '", given[i], "' is not supported here, only ", absl::StrJoin(usual, ", "),
        node.op == "RNN" ? ", relu and sigmoid" : "", "; export with the usual activations"));
  }
  return absl::OkStatus();
}

// What no exporter of ours and few models use is refused by name.
absl::Status CheckRareAttributes(const Node& node) {
  for (const char* name : {"activation_alpha", "activation_beta", "clip"}) {
    if (node.attributes.contains(name)) {
      return absl::UnimplementedError(
          absl::StrCat("attribute '", name, "' is not supported; export without it"));
    }
  }
  if (node.GetInt("input_forget", 0) != 0) {
    return absl::UnimplementedError("attribute 'input_forget' is supported only as 0");
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> DirectionCount(const Node& node) {
  const std::string direction = node.GetString("direction", "forward");
  if (direction == "bidirectional") return 2;
  if (direction == "forward" || direction == "reverse") return 1;
  return absl::InvalidArgumentError(absl::StrCat(
      "attribute 'direction' is '", direction, "'; it must be forward, reverse or bidirectional"));
}

absl::Status CheckOperand(const InferenceContext& context, int i, const char* what,
                          const Shape& wanted) {
  if (!context.HasInput(i)) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(const Shape shape, context.InputShape(i));
  bool fits = shape.size() == wanted.size();
  for (size_t d = 0; fits && d < shape.size(); ++d) fits = MayEqual(shape[d], wanted[d]);
  if (fits) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, " (input ", i, ") has shape ",
                                                 ShapeString(shape), "; it must be ",
                                                 ShapeString(wanted)));
}

// Shape of W or R as LSTM has it.
absl::StatusOr<Shape> MatrixShape(const InferenceContext& context, int i) {
  DS_ASSIGN_OR_RETURN(Shape shape, context.InputShape(i));
  if (context.node.op == kDynamicLstm && shape.size() == 3) std::swap(shape[1], shape[2]);
  return shape;
}

absl::Status CheckMatrix(const InferenceContext& context, int i, const char* what,
                         const Shape& wanted) {
  if (context.node.op != kDynamicLstm) return CheckOperand(context, i, what, wanted);
  const Shape stored = {wanted[0], wanted[2], wanted[1]};
  const DType type = context.InputDType(i);
  if (type != DType::kInt8 && type != DType::kUInt8) {
    return absl::InvalidArgumentError(absl::StrCat(what, " must have int8 or uint8 codes"));
  }
  const int scale = i == 1 ? kScaleOfW : kScaleOfR;
  for (const int slot : {scale, scale + 1}) {
    if (!context.HasInput(slot)) {
      return absl::InvalidArgumentError(absl::StrCat("it lacks input ", slot, ", of ", what));
    }
    DS_ASSIGN_OR_RETURN(const Shape shape, context.InputShape(slot));
    const Shape rows = shape.size() == 2 ? Shape{wanted[0], wanted[1]} : Shape{wanted[0]};
    DS_RETURN_IF_ERROR(CheckOperand(context, slot, "a scale or zero point", rows));
  }
  if (context.InputDType(scale) != DType::kFloat32 || context.InputDType(scale + 1) != type) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the scale of ", what, " must be float32, its zero point of ", what, "'s type"));
  }
  return CheckOperand(context, i, what, stored);
}

Inferred InferRecurrent(const InferenceContext& context) {
  const Node& node = context.node;
  DS_ASSIGN_OR_RETURN(const Shape x, context.InputShape(0));
  DS_ASSIGN_OR_RETURN(const Shape r, MatrixShape(context, 2));
  DS_ASSIGN_OR_RETURN(const int64_t directions, DirectionCount(node));
  DS_RETURN_IF_ERROR(CheckActivations(node, directions));
  DS_RETURN_IF_ERROR(CheckRareAttributes(node));
  if (x.size() != 3 || r.size() != 3) {
    return absl::InvalidArgumentError(absl::StrCat("X ", ShapeString(x), " and R ", ShapeString(r),
                                                   " must have three axes: [steps, batch, "
                                                   "features] and [directions, gates * hidden, "
                                                   "hidden]"));
  }
  const int64_t gates = GateCount(node.op);
  const int64_t hidden = IsDynamic(r[2]) ? node.GetInt("hidden_size", kDynamicDim) : r[2];
  if (IsDynamic(hidden) || hidden < 1 || node.GetInt("hidden_size", hidden) != hidden) {
    return absl::InvalidArgumentError(
        absl::StrCat("attribute 'hidden_size' does not fit R, whose shape is ", ShapeString(r)));
  }
  const int64_t rows = gates * hidden;
  const Shape state = {directions, x[1], hidden};
  DS_RETURN_IF_ERROR(CheckMatrix(context, 1, "W", {directions, rows, x[2]}));
  DS_RETURN_IF_ERROR(CheckMatrix(context, 2, "R", {directions, rows, hidden}));
  DS_RETURN_IF_ERROR(CheckOperand(context, 3, "B", {directions, 2 * rows}));
  DS_RETURN_IF_ERROR(CheckOperand(context, 4, "sequence_lens", {x[1]}));
  DS_RETURN_IF_ERROR(CheckOperand(context, 5, "initial_h", state));
  DS_RETURN_IF_ERROR(CheckOperand(context, 6, "initial_c", state));
  DS_RETURN_IF_ERROR(CheckOperand(context, 7, "P", {directions, 3 * hidden}));
  const DType type = context.InputDType(0);
  std::vector<InferredValue> outputs = {{type, {x[0], directions, x[1], hidden}}, {type, state}};
  if (IsLstm(node.op)) outputs.push_back({type, state});
  return outputs;
}

OpSchema Recurrent(std::string name, int max_inputs, int max_outputs,
                   std::vector<AttributeSchema> more) {
  std::vector<AttributeSchema> attributes = {{"activation_alpha", AttributeType::kFloats, false},
                                             {"activation_beta", AttributeType::kFloats, false},
                                             {"activations", AttributeType::kStrings, false},
                                             Float("clip"),
                                             String("direction"),
                                             Int("hidden_size")};
  attributes.insert(attributes.end(), more.begin(), more.end());
  OpSchema op = Op(std::move(name), 3, max_inputs, std::move(attributes), InferRecurrent);
  op.max_outputs = max_outputs;
  op.parameter_inputs = {1, 2, 3, 7};
  return op;
}

}  // namespace

void AddRecurrent(Table& table) {
  table.push_back(Recurrent("LSTM", 8, 3, {Int("input_forget")}));
  table.push_back(Recurrent("GRU", 6, 2, {Int("linear_before_reset")}));
  table.push_back(Recurrent("RNN", 6, 2, {}));
  OpSchema dynamic = Recurrent(kDynamicLstm, kDynamicInputs, 3, {Int("input_forget")});
  dynamic.parameter_inputs = {};  // codes, and what belongs to them
  table.push_back(std::move(dynamic));
}

}  // namespace ds::schema
