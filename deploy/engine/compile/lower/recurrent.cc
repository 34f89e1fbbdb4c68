// LSTM, GRU and RNN: a step a direction.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "deploy/engine/compile/lower/lowering.h"

namespace ds::engine::compile {
namespace {

using file::OperatorKind;
using file::RecurrentWay;
using file::Type;

uint32_t Field(int64_t number) { return static_cast<uint32_t>(number); }

}  // namespace

absl::Status Lowering::SetActivations(const Node& node, int64_t direction,
                                      file::RecurrentParameters& p) {
  const bool rnn = node.op == "RNN";
  const size_t count = node.op == "LSTM" ? 3 : rnn ? 1 : 2;
  std::vector<std::string> names;
  if (const auto found = node.attributes.find("activations"); found != node.attributes.end()) {
    names = std::get<std::vector<std::string>>(found->second);
  }
  const auto numbers = [&](const char* key) {
    const auto found = node.attributes.find(key);
    return found == node.attributes.end() ? std::vector<float>()
                                          : std::get<std::vector<float>>(found->second);
  };
  if (!numbers("activation_alpha").empty() || !numbers("activation_beta").empty()) {
    return Refuse(node, "its activations have parameters of their own");
  }
  const char* const defaults[] = {rnn ? "tanh" : "sigmoid", "tanh", "tanh"};
  for (size_t i = 0; i < 3; ++i) {
    const size_t at = static_cast<size_t>(direction) * count + i;
    const std::string name =
        i < count && at < names.size() ? absl::AsciiStrToLower(names[at]) : defaults[i];
    file::UnaryWay way;
    p.a[i] = 0;
    p.b[i] = 0;
    if (name == "sigmoid") {
      way = file::UnaryWay::kSigmoid;
    } else if (name == "tanh") {
      way = file::UnaryWay::kTanh;
    } else if (name == "relu") {
      way = file::UnaryWay::kLeakyRelu;
    } else if (name == "softsign") {
      way = file::UnaryWay::kSoftsign;
    } else if (name == "softplus") {
      way = file::UnaryWay::kSoftplus;
    } else if (name == "hardsigmoid") {
      way = file::UnaryWay::kHardSigmoid;
      p.a[i] = 0.2f;
      p.b[i] = 0.5f;
    } else if (name == "elu") {
      way = file::UnaryWay::kElu;
      p.a[i] = 1;
    } else {
      return Refuse(node, absl::StrCat("its activation '", name, "' is none that it takes"));
    }
    p.activation[i] = static_cast<uint32_t>(way);
  }
  return absl::OkStatus();
}

// Row `index` of the first axis, as a tensor of its own.
absl::StatusOr<int> Lowering::FirstAxis(ValueId id, int64_t index) {
  DS_ASSIGN_OR_RETURN(const int tensor, Operand(id));
  Strided at = StridesOf(Held{tensor});
  at.start += index * at.strides[0];
  at.dims.erase(at.dims.begin());
  at.strides.erase(at.strides.begin());
  if (ShapeOf(id)[0] == 1) {
    return View(tensor, at.dims, absl::StrCat(graph_.value(id).name, ".only"));
  }
  return Move(at, at.dims, absl::StrCat(graph_.value(id).name, ".", index));
}

absl::StatusOr<Held> Lowering::RecurrentReal(const Node& node, ValueId id) {
  const Shape x = ShapeOf(node.inputs[0]), r = ShapeOf(node.inputs[2]);
  const int64_t steps = x[0], batch = x[1], hidden = r[2], directions = r[0];
  const bool lstm = node.op == "LSTM", gru = node.op == "GRU";
  const auto given = [&](size_t i) { return i < node.inputs.size() && node.inputs[i] != kNoValue; };
  if (given(4)) {
    const auto lengths = IntsOf(graph_, node, 4);
    const bool whole = lengths && std::all_of(lengths->begin(), lengths->end(),
                                              [&](int64_t length) { return length == steps; });
    if (!whole) return Refuse(node, "its sequences are of unlike lengths");
  }
  const RecurrentWay way =
      lstm  ? RecurrentWay::kLstm
      : gru ? (node.GetInt("linear_before_reset", 0) != 0 ? RecurrentWay::kGruLinearBeforeReset
                                                          : RecurrentWay::kGru)
            : RecurrentWay::kRnn;
  const int64_t gates = r[1] / hidden;
  DS_ASSIGN_OR_RETURN(const int sequence, Operand(node.inputs[0]));
  const bool only_back = node.GetString("direction", "forward") == "reverse";
  const auto zeros = [&](const char* what, Dims dims) {
    const std::vector<float> values(static_cast<size_t>(Elements(dims)), 0.0f);
    return AddConstant(absl::StrCat(node.name, what), Type::kFloat32, dims, values);
  };
  std::vector<int> parts[3];
  for (int64_t d = 0; d < directions; ++d) {
    file::RecurrentParameters p{static_cast<uint32_t>(way),
                                Field(steps),
                                Field(batch),
                                Field(x[2]),
                                Field(hidden),
                                Field(only_back || d == 1),
                                node.GetFloat("clip", 0),
                                {},
                                {},
                                {}};
    DS_RETURN_IF_ERROR(SetActivations(node, d, p));
    std::vector<int> inputs = {sequence};
    const auto part = [&](size_t slot, const char* what, Dims dims) -> absl::Status {
      if (!given(slot)) {
        inputs.push_back(zeros(what, std::move(dims)));
        return absl::OkStatus();
      }
      DS_ASSIGN_OR_RETURN(const int tensor, FirstAxis(node.inputs[slot], d));
      inputs.push_back(tensor);
      return absl::OkStatus();
    };
    DS_RETURN_IF_ERROR(part(1, ".w", {}));
    DS_RETURN_IF_ERROR(part(2, ".r", {}));
    DS_RETURN_IF_ERROR(part(3, ".bias", {2 * gates * hidden}));
    DS_RETURN_IF_ERROR(part(5, ".h", {batch, hidden}));
    if (lstm) {
      DS_RETURN_IF_ERROR(part(6, ".c", {batch, hidden}));
      DS_RETURN_IF_ERROR(part(7, ".peepholes", {3 * hidden}));
    }
    const auto made = [&](const char* what, Dims dims) {
      return AddTensor(absl::StrCat(node.name, what, d), Type::kFloat32, std::move(dims));
    };
    const int all = made(".all", {steps, batch, hidden});
    Step& step = Emit(OperatorKind::kRecurrent, node, std::move(inputs), all);
    step.parameters = p;
    step.macs = steps * batch * gates * hidden * (hidden + x[2]);
    step.outputs.push_back(
        AddTensor(absl::StrCat(node.name, ".h", d), Type::kFloat32, {batch, hidden}));
    parts[0].push_back(all);
    parts[1].push_back(program_.steps.back().outputs[1]);
    if (lstm) {
      const int cells = made(".c", {batch, hidden});
      program_.steps.back().outputs.push_back(cells);
      parts[2].push_back(cells);
    }
  }
  Held wanted;
  for (size_t slot = 0; slot < node.outputs.size() && slot < 3; ++slot) {
    const ValueId output = node.outputs[slot];
    if (output == kNoValue) continue;
    const Shape shape = ShapeOf(output);
    int tensor = parts[slot][0];
    if (directions > 1) {
      tensor =
          AddTensor(graph_.value(output).name, Type::kFloat32, Dims(shape.begin(), shape.end()));
      Emit(OperatorKind::kConcat, node, parts[slot], tensor).parameters =
          file::ConcatParameters{slot == 0 ? Field(steps) : 1u};
    } else {
      DS_ASSIGN_OR_RETURN(
          tensor, View(tensor, Dims(shape.begin(), shape.end()), graph_.value(output).name));
    }
    values_[output] = Held{tensor};
    if (output == id) wanted = Held{tensor};
  }
  return wanted;
}

}  // namespace ds::engine::compile
