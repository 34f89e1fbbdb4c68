// LSTM (Hochreiter & Schmidhuber 1997; peepholes: Gers & Schmidhuber 2000), GRU (Cho et al. 2014)
// and Elman networks, one direction, as ONNX has their gates.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>

#include "deploy/engine/runtime/steps/general/dense.h"
#include "deploy/engine/runtime/steps/general/functions.h"
#include "deploy/engine/runtime/steps/makers.h"
#include "deploy/engine/runtime/steps/window.h"

namespace ds::engine {
namespace {

using file::RecurrentParameters;
using file::RecurrentWay;
using file::Type;

int GatesOf(RecurrentWay way) {
  return way == RecurrentWay::kLstm ? 4 : way == RecurrentWay::kRnn ? 1 : 3;
}

// Steps whose inputs are multiplied at once.
constexpr int64_t kTogether = 16;

struct Cell {
  RecurrentParameters p;
  const float *x, *w, *r, *bias, *first_h, *first_c, *peepholes;
  float *all, *last_h, *last_c;
  const Kernels* kernels;

  void Apply(int which, float* values) const {
    const int64_t count = p.hidden;
    for (int64_t i = 0; p.clip > 0 && i < count; ++i) {
      values[i] = std::clamp(values[i], -p.clip, p.clip);
    }
    WithFunction(static_cast<file::UnaryWay>(p.activation[which]), p.a[which], p.b[which],
                 [&](auto function) {
                   for (int64_t i = 0; i < count; ++i) values[i] = function(values[i]);
                 });
  }

  // gates[g][i] += row of m . v
  void AddProduct(const float* m, const float* v, int64_t depth, int64_t rows, float* gates) const {
    const AddDotsF32Args args{.matrix = m,
                              .stride = depth,
                              .vector = v,
                              .columns = static_cast<int32_t>(depth),
                              .output = gates};
    kernels->add_dots_f32(args, {0, static_cast<int32_t>(rows)});
  }
  void AddBias(int64_t first, int64_t rows, float* gates) const {
    for (int64_t row = 0; row < rows; ++row) gates[row] += bias[first + row];
  }

  void Lstm(float* h, float* c, float* gates) const {
    const int64_t n = p.hidden;
    AddBias(4 * n, 4 * n, gates);
    AddProduct(r, h, n, 4 * n, gates);
    float *in = gates, *out = gates + n, *forget = gates + 2 * n, *cell = gates + 3 * n;
    for (int64_t i = 0; i < n; ++i) {
      in[i] += peepholes[i] * c[i];
      forget[i] += peepholes[2 * n + i] * c[i];
    }
    Apply(0, in);
    Apply(0, forget);
    Apply(1, cell);
    for (int64_t i = 0; i < n; ++i) {
      c[i] = forget[i] * c[i] + in[i] * cell[i];
      out[i] += peepholes[n + i] * c[i];
      h[i] = c[i];
    }
    Apply(0, out);
    // The cell's own activation is not clipped.
    WithFunction(static_cast<file::UnaryWay>(p.activation[2]), p.a[2], p.b[2], [&](auto function) {
      for (int64_t i = 0; i < n; ++i) h[i] = out[i] * function(h[i]);
    });
  }

  void Gru(float* h, float* gates, float* turned) const {
    const int64_t n = p.hidden;
    AddBias(3 * n, 2 * n, gates);
    AddProduct(r, h, n, 2 * n, gates);
    float *update = gates, *reset = gates + n, *hidden = gates + 2 * n;
    Apply(0, update);
    Apply(0, reset);
    const float* last = r + 2 * n * n;
    const bool before = static_cast<RecurrentWay>(p.way) == RecurrentWay::kGruLinearBeforeReset;
    if (before) {
      std::copy_n(bias + 5 * n, n, turned);
      AddProduct(last, h, n, n, turned);
      for (int64_t i = 0; i < n; ++i) hidden[i] += reset[i] * turned[i];
    } else {
      for (int64_t i = 0; i < n; ++i) turned[i] = reset[i] * h[i];
      AddBias(5 * n, n, hidden);
      AddProduct(last, turned, n, n, hidden);
    }
    Apply(1, hidden);
    for (int64_t i = 0; i < n; ++i) h[i] = (1 - update[i]) * hidden[i] + update[i] * h[i];
  }

  // What the inputs of `count` steps from the `first` of a sequence on, in the order of the run,
  // bring to the gates, [rows][kTogether]: each row of w is read once for all of them.
  void AddInputs(int64_t batch, int64_t first, int32_t count, int64_t rows, float* sums) const {
    const int64_t stride = int64_t{p.batch} * p.inputs;
    const int64_t step = p.backward != 0 ? p.steps - 1 - first : first;
    for (int64_t row = 0; row < rows; ++row) {
      float* out = sums + row * kTogether;
      std::fill_n(out, count, bias[row]);
      const AddDotsF32Args args{.matrix = x + step * stride + batch * p.inputs,
                                .stride = p.backward != 0 ? -stride : stride,
                                .vector = w + row * p.inputs,
                                .columns = static_cast<int32_t>(p.inputs),
                                .output = out};
      kernels->add_dots_f32(args, {0, count});
    }
  }

  // One sequence of the batch. Scratch: h, c, gates, one more row, what the inputs bring.
  void Run(int64_t batch, float* scratch) const {
    const int64_t n = p.hidden, rows = GatesOf(static_cast<RecurrentWay>(p.way)) * n;
    float *h = scratch, *c = h + n, *gates = c + n, *turned = gates + rows, *sums = turned + n;
    std::copy_n(first_h + batch * n, n, h);
    if (first_c != nullptr) std::copy_n(first_c + batch * n, n, c);
    for (int64_t i = 0; i < p.steps; ++i) {
      const int64_t step = p.backward != 0 ? p.steps - 1 - i : i;
      const int64_t at = step * p.batch + batch;
      const int64_t within = i % kTogether;
      if (within == 0) {
        const auto left = static_cast<int32_t>(std::min<int64_t>(kTogether, p.steps - i));
        AddInputs(batch, i, left, rows, sums);
      }
      for (int64_t row = 0; row < rows; ++row) gates[row] = sums[row * kTogether + within];
      switch (static_cast<RecurrentWay>(p.way)) {
        case RecurrentWay::kLstm:
          Lstm(h, c, gates);
          break;
        case RecurrentWay::kRnn:
          AddBias(n, n, gates);
          AddProduct(r, h, n, n, gates);
          Apply(0, gates);
          std::copy_n(gates, n, h);
          break;
        default:
          Gru(h, gates, turned);
      }
      std::copy_n(h, n, all + at * n);
    }
    std::copy_n(h, n, last_h + batch * n);
    if (last_c != nullptr) std::copy_n(c, n, last_c + batch * n);
  }
};

}  // namespace

Status MakeRecurrent(const Binding& binding, std::unique_ptr<Step>& step) {
  const RecurrentParameters* parameters = nullptr;
  DS_ENGINE_RETURN_IF_ERROR(binding.Parameters(parameters));
  const RecurrentParameters& p = *parameters;
  if (p.way > static_cast<uint32_t>(RecurrentWay::kRnn)) {
    return binding.Error("is a network that version 1 does not have");
  }
  const auto way = static_cast<RecurrentWay>(p.way);
  const bool lstm = way == RecurrentWay::kLstm;
  DS_ENGINE_RETURN_IF_ERROR(CheckDense(binding, lstm ? 7 : 5, lstm ? 3 : 2));
  DS_ENGINE_RETURN_IF_ERROR(binding.Types(Type::kFloat32, Type::kFloat32));
  DS_ENGINE_RETURN_IF_ERROR(CheckFlag(binding, p.backward));
  for (int i = 0; i < 3; ++i) {
    const auto function = static_cast<file::UnaryWay>(p.activation[i]);
    if (!WithFunction(function, p.a[i], p.b[i], [](auto) {})) {
      return binding.Error("has an activation that version 1 does not have");
    }
  }
  const auto gates = static_cast<uint32_t>(GatesOf(way));
  const auto state = [&](const file::Tensor& t) { return Holds(t, p.batch, p.hidden); };
  bool fits = Holds(binding.input(0), p.steps, p.batch, p.inputs) &&
              Holds(binding.input(1), gates, p.hidden, p.inputs) &&
              Holds(binding.input(2), gates, p.hidden, p.hidden) &&
              Holds(binding.input(3), 2u, gates, p.hidden) && state(binding.input(4)) &&
              Holds(binding.output(0), p.steps, p.batch, p.hidden) && state(binding.output(1));
  if (lstm) {
    fits = fits && state(binding.input(5)) && Holds(binding.input(6), 3u, p.hidden) &&
           state(binding.output(2));
  }
  if (!fits) return binding.Error("has tensors of other sizes than its extents");
  const auto in = [&](int i) { return ReadAs<float>(binding, i); };
  const Cell cell{p,
                  in(0),
                  in(1),
                  in(2),
                  in(3),
                  in(4),
                  lstm ? in(5) : nullptr,
                  lstm ? in(6) : nullptr,
                  WriteAs<float>(binding, 0),
                  WriteAs<float>(binding, 1),
                  lstm ? WriteAs<float>(binding, 2) : nullptr,
                  &binding.kernels()};
  const int64_t work = int64_t{p.steps} * Elements(binding.input(2)) * p.batch;
  step = MakeWork(
      p.batch, work,
      [cell](Range units, void* scratch) {
        for (int64_t batch = units.begin; batch < units.end; ++batch) {
          cell.Run(batch, static_cast<float*>(scratch));
        }
      },
      (int64_t{gates + 3} + gates * kTogether) * p.hidden * 4);
  return {};
}

}  // namespace ds::engine
