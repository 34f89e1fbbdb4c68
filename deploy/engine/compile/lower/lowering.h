// Private to lower/: a graph's values as tensors of the engine, made when they are asked for.
//
// Images (values of four axes that convolutions and pools read) lie as [N, H, W, C]; everything
// else lies as the graph has it. A value in one layout that is read in the other is moved, once.
// A real value that is codes taken apart (DequantizeLinear, and what only arranges such values) has
// its codes as a tensor too: CodesOf().
#pragma once

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
  absl::StatusOr<int> OutputTensor(ValueId id);

  // codes.cc
  std::optional<CodeScale> CodeType(ValueId real);
  std::optional<CodeScale> FindCodeType(ValueId real);
  absl::StatusOr<Held> CodesOf(ValueId real);
  absl::StatusOr<Held> Quantise(const Node& node);
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
  absl::StatusOr<Held> ProductReal(const Node& node);
  std::optional<std::vector<int32_t>> BiasCodes(ValueId bias, float input_scale,
                                                const std::vector<float>& scales);

  // floats.cc, matrices.cc
  absl::StatusOr<Held> PoolReal(const Node& node);
  absl::StatusOr<Held> ActivateReal(const Node& node);
  absl::StatusOr<Held> BinaryReal(const Node& node);
  absl::StatusOr<Held> MatMulReal(const Node& node);
  absl::StatusOr<Held> GatherReal(const Node& node);
  absl::StatusOr<Held> MeanReal(const Node& node);
  absl::StatusOr<Held> NormReal(const Node& node);
  absl::StatusOr<Held> SoftmaxReal(const Node& node);
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

  // Shared.
  const Shape& ShapeOf(ValueId id) const { return *graph_.value(id).shape; }
  Shape ShapeOf(Held held) const;  // of the value
  int AddTensor(std::string name, file::Type type, Dims dims, CodeScale codes = {});
  Step& Emit(file::OperatorKind kind, const Node& node, std::vector<int> inputs, int output);
  absl::Status Refuse(const Node& node, absl::string_view why) const;
  int64_t Macs(const Node& node) const;

  const Graph& graph_;
  const CompileOptions& options_;
  const Makers makers_;
  UnaryFinder unary_;
  Program program_;
  std::map<ValueId, Held> values_, codes_;
  std::map<ValueId, std::optional<CodeScale>> code_types_;
  std::map<std::pair<int, bool>, int> turned_;  // tensor and layout -> tensor
};

// Dims of [N, H, W, C] from those of [N, C, H, W].
inline Dims ImageDims(const Shape& shape) { return {shape[0], shape[2], shape[3], shape[1]}; }

}  // namespace ds::engine::compile
