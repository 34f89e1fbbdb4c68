// Private to lower/: a graph's values as tensors of the engine, made when they are asked for.
//
// Images (values of four axes that convolutions and pools read) lie as [N, H, W, C]; everything
// else lies as the graph has it. A value in one layout that is read in the other is moved, once.
// A real value that is codes taken apart (DequantizeLinear, and what only arranges such values) has
// its codes as a tensor too: CodesOf().
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "deploy/engine/compile/compile.h"
#include "deploy/engine/compile/lower/constants.h"
#include "deploy/engine/compile/lower/unary.h"
#include "deploy/engine/compile/program.h"
#include "graph/graph.h"

namespace ds::engine::compile {

// A tensor, and whether its dims are [N, H, W, C] of a value of [N, C, H, W].
struct Held {
  int tensor = -1;
  bool image = false;
};

// Where the elements of a value lie in a tensor, along the value's axes; a stride of 0 repeats.
struct Strided {
  int tensor = -1;
  int64_t start = 0;
  Dims dims, strides;
};

// What codes become on their way to be stored.
struct Target {
  CodeScale scale;
  int32_t low = 0, high = 255;
};

class Lowering {
 public:
  Lowering(const Graph& graph, const CompileOptions& options)
      : graph_(graph),
        options_(options),
        makers_(graph),
        unary_(graph, makers_, options.passes.fold_chains) {}

  absl::StatusOr<Program> Run();

 private:
  // lowering.cc: which way a value is computed.
  absl::StatusOr<Held> Value(ValueId id);
  absl::StatusOr<Held> Make(ValueId id);
  absl::StatusOr<Held> MakeReal(const Node& node, ValueId id);
  absl::Status AddInputs();
  absl::Status AddOutputs();
  absl::Status AddEmptyOutput(const ds::Value& value);
  absl::StatusOr<int> OutputTensor(ValueId id);

  // codes.cc
  std::optional<CodeScale> CodeType(ValueId real);
  bool FillFits(const Node& node, const CodeScale& scale) const;
  std::optional<CodeScale> FindCodeType(ValueId real);
  absl::StatusOr<Held> CodesOf(ValueId real);
  absl::StatusOr<Held> Quantise(const Node& node);
  std::string WhyFloats(const Node& node, ValueId result);
  absl::StatusOr<Held> Dequantise(const Node& node);
  absl::StatusOr<Held> Table(Held codes, const CodeTable& table, const std::string& name,
                             const std::string& story);
  absl::StatusOr<Held> Requantise(Held codes, const CodeScale& from, const Target& to,
                                  const std::string& name);
  // Nothing where no integer kernel computes the node.
  absl::StatusOr<std::optional<Held>> MakeCodes(const Node& node, const Target& target);
  absl::StatusOr<std::optional<Held>> AddCodes(const Node& node, const Target& target);
  absl::StatusOr<std::optional<Held>> MultiplyCodes(const Node& node, const Target& target);
  absl::StatusOr<std::optional<Held>> AverageCodes(const Node& node, const Target& target);
  absl::StatusOr<std::optional<Held>> ConcatCodes(const Node& node, const Target& target);
  absl::StatusOr<Held> MaxOfCodes(const Node& node, Held codes);

  // convolutions.cc
  absl::StatusOr<std::optional<Held>> ConvCodes(const Node& node, const Target& target);
  absl::StatusOr<std::optional<Held>> ProductCodes(const Node& node, const Target& target);
  absl::StatusOr<Held> ConvReal(const Node& node);
  // Codes and a matrix of codes, the result floats; nullopt where it is none.
  absl::StatusOr<std::optional<Held>> ProductToReal(const Node& node);
  // four_bits.cc. The same of codes or floats and a matrix of 4 bits, which may have a scale for
  // each block of the depth.
  absl::StatusOr<std::optional<Held>> ProductOfFourBits(const Node& node);
  absl::StatusOr<Held> ProductReal(const Node& node);
  std::optional<std::vector<int32_t>> BiasCodes(ValueId bias, float input_scale,
                                                const std::vector<float>& scales);

  // floats.cc, matrices.cc
  absl::StatusOr<Held> PoolReal(const Node& node);
  absl::StatusOr<Held> ActivateReal(const Node& node);
  absl::StatusOr<Held> BinaryReal(const Node& node);
  bool Covers(const Held& held, const Shape& whole, bool image) const;
  absl::StatusOr<Held> MatMulReal(const Node& node);
  absl::StatusOr<Held> MeanReal(const Node& node);
  absl::StatusOr<Held> NormReal(const Node& node);
  absl::StatusOr<Held> SoftmaxReal(const Node& node);
  // Over the last axis, by constants; empty: a scale of 1, a shift of 0.
  struct Norm {
    file::LayerNormParameters parameters;
    std::vector<float> scale, shift;
  };
  absl::StatusOr<Norm> NormOf(const Node& node) const;
  absl::StatusOr<Held> LayerNormReal(const Node& node);
  // The window of a pool, or of a mean over H and W; nothing for another mean.
  absl::StatusOr<std::optional<file::PoolF32Parameters>> PoolWindow(const Node& node);
  // What keeps its shape, for a mean that drops its axes.
  absl::StatusOr<Held> PoolResult(const Node& node, int tensor);

  // layouts.cc
  bool IsReshape(const Node& node) const;  // elements and their order stay
  bool IsLayout(const Node& node) const;   // elements stay
  absl::StatusOr<Held> Arrange(const Node& node, ValueId result, Held from);
  absl::StatusOr<Held> Slice(const Node& node, Held from, Strided at);
  absl::StatusOr<Held> Split(const Node& node, ValueId result, Held from);
  absl::StatusOr<Held> Enlarge(const Node& node, Held from);
  absl::StatusOr<Held> Concat(const Node& node, std::vector<Held> parts);
  absl::StatusOr<Held> ConcatValues(const Node& node);  // its inputs as they are
  absl::StatusOr<int> AsImage(Held held);
  absl::StatusOr<int> AsPlain(Held held);
  // The value of these strides as a tensor of its own, or a view.
  absl::StatusOr<Held> Take(const Strided& from, bool image, const std::string& name);
  absl::StatusOr<int> Move(const Strided& from, Dims dims, const std::string& name);
  Strided StridesOf(Held held) const;
  absl::StatusOr<int> Dense(int tensor);
  absl::StatusOr<int> View(int tensor, Dims dims, const std::string& name);
  // Two operands, the first of the result's shape; which the second one was if `swapped`.
  struct Operands {
    int a = -1, b = -1;
    file::Spread spread = file::Spread::kSame;
    bool swapped = false, image = false;
  };
  absl::StatusOr<Operands> Spread(Held a, Held b, const Shape& result, const std::string& name);
  absl::StatusOr<Held> Broadcast(Held held, const Shape& result, const std::string& name);

  // general.cc: whatever else a graph has, element by element.
  absl::StatusOr<Held> General(const Node& node, ValueId id);
  absl::StatusOr<Held> UnaryGeneral(const Node& node);
  absl::StatusOr<Held> CastGeneral(const Node& node);
  absl::StatusOr<Held> BinaryGeneral(const Node& node);
  absl::StatusOr<Held> WhereGeneral(const Node& node);
  absl::StatusOr<Held> Filled(const Node& node);
  absl::StatusOr<Held> Walked(const Node& node, const std::vector<Held>& operands, file::Type type,
                              file::OperatorKind kind, file::BinaryWay way);
  absl::StatusOr<int> Operand(ValueId id);
  absl::StatusOr<Held> Counted(ValueId id);
  int Convert(int tensor, file::Type type, bool moved, const std::string& name);
  int Numbered(int tensor, ValueId id);

  // axes.cc
  using Fill = std::array<uint32_t, 2>;
  absl::StatusOr<Held> AxesGeneral(const Node& node, ValueId id);
  absl::StatusOr<Held> ReduceGeneral(const Node& node);
  absl::StatusOr<Held> ArgGeneral(const Node& node);
  absl::StatusOr<Held> ScanGeneral(const Node& node);
  absl::StatusOr<Held> TopKGeneral(const Node& node, ValueId id);
  absl::StatusOr<Held> PointsGeneral(const Node& node);
  absl::StatusOr<Held> PadGeneral(const Node& node, Held held);
  absl::StatusOr<Held> TakeConstant(Held from, int64_t axis, const std::vector<int64_t>& indices,
                                    uint32_t fill, uint32_t fill_high, const std::string& name);
  absl::StatusOr<Held> TakeComputed(const Node& node, Held from);
  std::optional<Fill> FillOf(const Node& node, int tensor);

  // resampling.cc
  absl::StatusOr<Held> ResizeNearest(const Node& node, Held held);
  absl::StatusOr<Held> ResampleReal(const Node& node);
  absl::StatusOr<Held> ConvTransposeReal(const Node& node);
  absl::StatusOr<Held> GridSampleReal(const Node& node);

  // recurrent.cc
  absl::StatusOr<Held> RecurrentReal(const Node& node, ValueId id);
  absl::StatusOr<int> FirstAxis(ValueId id, int64_t index);
  absl::Status SetActivations(const Node& node, int64_t direction, file::RecurrentParameters& p);

  // attention8.cc
  absl::StatusOr<std::optional<Held>> MatMulCodes(const Node& node, const Target& target);
  absl::StatusOr<std::optional<Held>> SoftmaxCodes(const Node& node, const Target& target);
  absl::StatusOr<std::optional<Held>> LayerNormCodes(const Node& node, const Target& target);

  // Shared.
  template <typename T>
  int AddConstant(std::string name, file::Type type, Dims dims, const std::vector<T>& values) {
    const int tensor = AddTensor(std::move(name), type, std::move(dims));
    const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
    program_.tensors[tensor].place = file::Place::kConstant;
    program_.tensors[tensor].data.assign(bytes, bytes + values.size() * sizeof(T));
    return tensor;
  }
  const Shape& ShapeOf(ValueId id) const { return *graph_.value(id).shape; }
  Shape ShapeOf(Held held) const;  // of the value
  int AddTensor(std::string name, file::Type type, Dims dims, CodeScale codes = {});
  Step& Emit(file::OperatorKind kind, const Node& node, std::vector<int> inputs, int output);
  absl::Status Refuse(const Node& node, absl::string_view why) const;

  const Graph& graph_;
  const CompileOptions& options_;
  const Makers makers_;
  UnaryFinder unary_;
  Program program_;
  std::map<ValueId, Held> values_, codes_;
  std::map<ValueId, std::optional<CodeScale>> code_types_;
  std::map<std::pair<int, bool>, int> turned_;  // tensor and layout -> tensor
};

// How the engine keeps values of a type: int8 as codes, moved up by 128. Nothing for what it has
// not.
std::optional<file::Type> TypeOf(DType type);
// The constant that input `input` of the node is, of int32 or int64.
std::optional<std::vector<int64_t>> IntsOf(const Graph& graph, const Node& node, size_t input);

// Whether it is the plain product A B + C of a matrix.
bool IsPlainGemm(const Node& node);

// Dims of [N, H, W, C] from those of [N, C, H, W].
inline Dims ImageDims(const Shape& shape) { return {shape[0], shape[2], shape[3], shape[1]}; }

}  // namespace ds::engine::compile
