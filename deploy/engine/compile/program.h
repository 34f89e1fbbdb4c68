// What lies between a graph and a .dsm file: the engine's operators with tensors by number, as
// lowering writes them and passes change them. Weights are still as they come, one after another;
// write/ packs them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "deploy/engine/runtime/file.h"
#include "deploy/engine/runtime/general.h"
#include "deploy/engine/runtime/parameters.h"

namespace ds::engine::compile {

using Dims = std::vector<int64_t>;
using CodeTable = std::array<uint8_t, 256>;

// How codes stand for numbers: real = scale * (code - zero), codes in [0, 255]. Signed ones are
// moved up by 128 where the graph is read.
struct CodeScale {
  float scale = 1;
  int32_t zero = 0;
  bool operator==(const CodeScale&) const = default;
};

struct ProgramTensor {
  std::string name;
  file::Type type = file::Type::kFloat32;
  Dims dims;  // as elements lie, the last one densest
  file::Place place = file::Place::kArena;
  int number = 0;  // of the input or output
  CodeScale codes;
  int view_of = -1;    // a tensor that is no view
  int64_t first = -1;  // of a slice of the last dim: its first element there; -1: a reshape
  std::vector<std::byte> data;  // of a constant
};

using Parameters = std::variant<
    std::monostate, file::QuantiseParameters, file::Conv8Parameters, file::Pool8Parameters,
    file::Add8Parameters, file::Multiply8Parameters, file::ConvF32Parameters,
    file::PoolF32Parameters, file::BinaryF32Parameters, file::ActivateParameters,
    file::LayerNormParameters, file::LayerNorm8Parameters, file::MoveParameters,
    file::ConcatParameters, file::MatMulParameters, file::UnaryParameters, file::CastParameters,
    file::BinaryParameters, file::SelectParameters, file::ReduceParameters, file::TakeParameters,
    file::PointsParameters, file::ResampleParameters, file::FoldParameters, file::ScanParameters,
    file::TopKParameters, file::RecurrentParameters, file::MatMul8Parameters,
    file::Softmax8Parameters, file::GridSampleParameters, file::ConvChain8Parameters,
    file::SqueezeExcite8Parameters, file::Dense4Parameters>;

struct Step {
  file::OperatorKind kind = file::OperatorKind::kMove;
  std::string name;
  std::vector<int> inputs, outputs;
  Parameters parameters;
  // Of convolutions: [output channels, kernel_h, kernel_w, input channels of a group]; of depthwise
  // ones [kernel_h, kernel_w, channels]. One of the two.
  std::vector<int8_t> codes;
  std::vector<float> reals;
  std::vector<int32_t> bias;      // of codes, not folded; may be empty
  std::vector<float> real_bias;   // of floats; may be empty. LayerNorm: the shift
  std::vector<float> multiplier;  // of codes. LayerNorm: the scale
  std::optional<CodeTable> table;
  // Of a chain: the convolutions that it was made of, which have the rest. Of a squeeze-excite: the
  // average, both products and the multiplication.
  std::vector<Step> stages;
  std::vector<std::string> story;
  std::string stays;  // why no pass took it into another step, or why it is there; may be empty
  int64_t macs = 0;
};

struct Program {
  std::vector<ProgramTensor> tensors;
  std::vector<Step> steps;
  std::vector<int> inputs, outputs;
};

inline int64_t Elements(const Dims& dims) {
  int64_t count = 1;
  for (const int64_t dim : dims) count *= dim;
  return count;
}
int64_t BytesOf(file::Type type);
// The tensor whose bytes it has.
inline int RootOf(const Program& program, int tensor) {
  const int base = program.tensors[tensor].view_of;
  return base < 0 ? tensor : base;
}
// Of a slice: that of what it is a slice of.
int64_t RowBytes(const Program& program, int tensor);

// How often each tensor is read by steps; graph outputs count as read.
std::vector<int> Readers(const Program& program);
// The step that writes each tensor, or -1. A slice is not written by what writes its base.
std::vector<int> Writers(const Program& program);
// Whether another tensor is a view of it.
std::vector<bool> HaveViews(const Program& program);

// Drops the steps that are empty (no outputs) or whose outputs nobody reads.
void DropUnread(Program& program);

}  // namespace ds::engine::compile
