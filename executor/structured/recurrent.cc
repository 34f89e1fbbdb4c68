// LSTM, GRU and RNN, step by step: ONNX's gates, peepholes, sequence lengths and directions, with
// autograd through every step. The product with the input is one multiplication for all steps.
// DynamicQuantizeLSTM is ONNX Runtime's: an LSTM that rounds its input, all steps together, and at
// each step its state, to 256 codes of their own range; gradients pass the rounding as they are.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "executor/kernel.h"
#include "executor/structured/dynamic_codes.h"

namespace ds::executor {

namespace {

// Inputs of DynamicQuantizeLSTM behind those of LSTM; a zero point follows each scale.
constexpr int kScaleOfW = 8, kScaleOfR = 10;

struct Options {
  int64_t hidden = 0;
  bool linear_before_reset = false;  // GRU
  bool rounds = false;               // DynamicQuantizeLSTM: input and state
  std::string activation = "tanh";   // RNN's, in this direction
};

// One direction's operands: w [G*H, I], r [G*H, H], biases [G*H] or undefined, peepholes [3*H] or
// undefined.
struct Weights {
  at::Tensor w, r, w_bias, r_bias, peepholes;
};

struct State {
  at::Tensor h, c;  // [N, H]
};

using Step = State (*)(const at::Tensor& from_input, const State&, const Weights&, const Options&);

at::Tensor Part(const at::Tensor& x, int64_t i, const Options& options) {
  return at::slice(x, -1, i * options.hidden, (i + 1) * options.hidden);
}

at::Tensor Peeped(const at::Tensor& gate, const at::Tensor& c, int64_t i, const Weights& weights,
                  const Options& options) {
  return weights.peepholes.defined() ? gate + Part(weights.peepholes, i, options) * c : gate;
}

// By its own codes forward, by itself backward.
at::Tensor Rounded(const at::Tensor& x, const Options& options) {
  if (!options.rounds) return x;
  const at::Tensor plain = x.detach();
  return x + (CodesOfOwnRange(plain).Reals() - plain);
}

at::Tensor FromState(const State& state, const Weights& weights, const Options& options) {
  const at::Tensor product = at::matmul(Rounded(state.h, options), weights.r.t());
  return weights.r_bias.defined() ? product + weights.r_bias : product;
}

// Gates in the order i, o, f, c.
State LstmStep(const at::Tensor& from_input, const State& state, const Weights& weights,
               const Options& options) {
  const at::Tensor gates = from_input + FromState(state, weights, options);
  const at::Tensor i = at::sigmoid(Peeped(Part(gates, 0, options), state.c, 0, weights, options));
  const at::Tensor f = at::sigmoid(Peeped(Part(gates, 2, options), state.c, 2, weights, options));
  const at::Tensor c = f * state.c + i * at::tanh(Part(gates, 3, options));
  const at::Tensor o = at::sigmoid(Peeped(Part(gates, 1, options), c, 1, weights, options));
  return {o * at::tanh(c), c};
}

// Gates in the order z, r, h.
State GruStep(const at::Tensor& from_input, const State& state, const Weights& weights,
              const Options& options) {
  const int64_t hidden = options.hidden;
  const at::Tensor x_gates = at::slice(from_input, -1, 0, 2 * hidden);
  const at::Tensor x_new = Part(from_input, 2, options);
  at::Tensor z, r, h_new;
  if (options.linear_before_reset) {
    const at::Tensor h_all = FromState(state, weights, options);
    const at::Tensor gates = at::sigmoid(x_gates + at::slice(h_all, -1, 0, 2 * hidden));
    z = Part(gates, 0, options);
    r = Part(gates, 1, options);
    h_new = r * Part(h_all, 2, options);
  } else {
    const at::Tensor h_gates = at::matmul(state.h, at::slice(weights.r, 0, 0, 2 * hidden).t());
    at::Tensor sum = x_gates + h_gates;
    if (weights.r_bias.defined()) sum = sum + at::slice(weights.r_bias, 0, 0, 2 * hidden);
    const at::Tensor gates = at::sigmoid(sum);
    z = Part(gates, 0, options);
    r = Part(gates, 1, options);
    h_new = at::matmul(r * state.h, at::slice(weights.r, 0, 2 * hidden, 3 * hidden).t());
    if (weights.r_bias.defined()) h_new = h_new + Part(weights.r_bias, 2, options);
  }
  const at::Tensor candidate = at::tanh(x_new + h_new);
  return {candidate + z * (state.h - candidate), {}};
}

State RnnStep(const at::Tensor& from_input, const State& state, const Weights& weights,
              const Options& options) {
  const at::Tensor sum = from_input + FromState(state, weights, options);
  if (options.activation == "relu") return {at::relu(sum), {}};
  if (options.activation == "sigmoid") return {at::sigmoid(sum), {}};
  return {at::tanh(sum), {}};
}

// `active` [N, 1]: the step is within the sequence; a finished sequence keeps its state.
State Kept(const State& next, const State& before, const at::Tensor& active) {
  State kept{at::where(active, next.h, before.h), {}};
  if (next.c.defined()) kept.c = at::where(active, next.c, before.c);
  return kept;
}

// Runs one direction; `x` [T, N, I], `lengths` [N] or undefined. Returns [T, N, H] and the last
// state.
std::pair<at::Tensor, State> RunDirection(const at::Tensor& x, State state, const Weights& weights,
                                          const at::Tensor& lengths, bool reverse, Step step,
                                          const Options& options) {
  at::Tensor from_input = at::matmul(Rounded(x, options), weights.w.t());
  if (weights.w_bias.defined()) from_input = from_input + weights.w_bias;
  const int64_t steps = x.size(0);
  std::vector<at::Tensor> outputs(static_cast<size_t>(steps));
  for (int64_t i = 0; i < steps; ++i) {
    const int64_t t = reverse ? steps - 1 - i : i;
    State next = step(from_input[t], state, weights, options);
    at::Tensor& output = outputs[static_cast<size_t>(t)];
    if (lengths.defined()) {
      const at::Tensor active = at::gt(lengths, t).unsqueeze(1);
      next = Kept(next, state, active);
      output = at::where(active, next.h, at::zeros_like(next.h));
    } else {
      output = next.h;
    }
    state = std::move(next);
  }
  if (outputs.empty()) {
    return {at::empty({0, x.size(1), options.hidden}, x.options()), std::move(state)};
  }
  return {at::stack(outputs), std::move(state)};
}

// Codes [I, G*H] of one direction, scale and zero point [] or [G*H], as reals [G*H, I].
at::Tensor RealMatrix(const Call& call, int codes, int scale, int64_t direction) {
  const at::Tensor reals = call.In(codes)[direction].to(at::kFloat);
  const at::Tensor zero_point = call.In(scale + 1)[direction].to(at::kFloat);
  return at::mul(at::sub(reals, zero_point), call.In(scale)[direction]).t();
}

Weights DirectionWeights(const Call& call, int64_t direction, bool codes) {
  Weights weights;
  weights.w = codes ? RealMatrix(call, 1, kScaleOfW, direction) : call.In(1)[direction];
  weights.r = codes ? RealMatrix(call, 2, kScaleOfR, direction) : call.In(2)[direction];
  if (call.Has(3)) {
    const std::vector<at::Tensor> halves = at::chunk(call.In(3)[direction], 2);
    weights.w_bias = halves[0];
    weights.r_bias = halves[1];
  }
  if (call.Has(7)) weights.peepholes = call.In(7)[direction];
  return weights;
}

at::Tensor Initial(const Call& call, int i, int64_t direction, const at::Tensor& x,
                   int64_t hidden) {
  if (call.Has(i)) return call.In(i)[direction].to(x.scalar_type());
  return at::zeros({x.size(1), hidden}, x.options());
}

void Run(const Call& call, std::vector<Options> directions, bool first_reverse, Step step,
         bool has_cell) {
  const bool rounds = directions[0].rounds;
  const at::Tensor x = call.In(0).to(rounds ? at::kFloat : call.In(1).scalar_type());
  at::Tensor lengths;
  if (call.Has(4)) lengths = call.In(4).to(at::kLong);
  std::vector<at::Tensor> outputs, h, c;
  for (size_t d = 0; d < directions.size(); ++d) {
    const auto direction = static_cast<int64_t>(d);
    directions[d].hidden = call.In(2).size(rounds ? 1 : 2);
    State state{Initial(call, 5, direction, x, directions[d].hidden), {}};
    if (has_cell) state.c = Initial(call, 6, direction, x, directions[d].hidden);
    const bool reverse = d == 1 || first_reverse;
    auto [output, last] =
        RunDirection(x, std::move(state), DirectionWeights(call, direction, rounds), lengths,
                     reverse, step, directions[d]);
    outputs.push_back(std::move(output));
    h.push_back(last.h);
    if (has_cell) c.push_back(last.c);
  }
  call.Set(0, at::stack(outputs, 1));
  if (call.outputs() > 1) call.Set(1, at::stack(h));
  if (call.outputs() > 2) call.Set(2, at::stack(c));
}

absl::StatusOr<Kernel> MakeRecurrent(const NodeView& view) {
  const Node& node = view.node;
  const std::string direction = node.GetString("direction", "forward");
  std::vector<std::string> activations;
  if (auto it = node.attributes.find("activations"); it != node.attributes.end()) {
    activations = std::get<std::vector<std::string>>(it->second);
  }
  std::vector<Options> directions(direction == "bidirectional" ? 2 : 1);
  for (size_t d = 0; d < directions.size(); ++d) {
    directions[d].linear_before_reset = node.GetInt("linear_before_reset", 0) != 0;
    if (node.op == "RNN" && d < activations.size()) {
      directions[d].activation = absl::AsciiStrToLower(activations[d]);
    }
  }
  const bool rounds = node.op == "DynamicQuantizeLSTM";
  for (Options& options : directions) options.rounds = rounds;
  const bool has_cell = node.op == "LSTM" || rounds;
  const Step step = has_cell ? LstmStep : node.op == "GRU" ? GruStep : RnnStep;
  return Kernel([directions, step, has_cell, reverse = direction == "reverse"](const Call& call) {
    Run(call, directions, reverse, step, has_cell);
  });
}

}  // namespace

void AddRecurrent(FactoryTable& table) {
  for (const char* op : {"LSTM", "GRU", "RNN", "DynamicQuantizeLSTM"}) table[op] = MakeRecurrent;
}

}  // namespace ds::executor
