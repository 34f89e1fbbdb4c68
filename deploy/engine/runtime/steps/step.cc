#include "deploy/engine/runtime/steps/step.h"

#include <string>

#include "deploy/engine/runtime/parameters.h"
#include "deploy/engine/runtime/steps/makers.h"

namespace ds::engine {
namespace {

struct Kind {
  const char* name;
  StepMaker maker;
};

constexpr int kMostPackings = 8;

constexpr Kind kKinds[file::kLastOperatorKind + 1] = {
    {"none", nullptr},
    {"quantise", MakeQuantise},
    {"dequantise", MakeDequantise},
    {"conv8", MakeConv8},
    {"depthwise8", MakeDepthwise8},
    {"pool8", MakePool8},
    {"add8", MakeAdd8},
    {"multiply8", MakeMultiply8},
    {"lookup8", MakeLookup8},
    {"conv_f32", MakeConvF32},
    {"depthwise_f32", MakeDepthwiseF32},
    {"pool_f32", MakePoolF32},
    {"binary_f32", MakeBinaryF32},
    {"activate_f32", MakeActivateF32},
    {"softmax_f32", MakeSoftmaxF32},
    {"layer_norm_f32", MakeLayerNormF32},
    {"move", MakeMove},
    {"conv4", MakeConv4},
    {"concat", MakeConcat},
    {"matmul_f32", MakeMatMulF32},
    {"gather", MakeGather},
    {"dense8", MakeDense8},
    {"unary", MakeUnary},
    {"cast", MakeCast},
    {"binary", MakeBinary},
    {"select", MakeSelect},
    {"reduce", MakeReduce},
    {"take", MakeTake},
    {"gather_nd", MakeGatherNd},
    {"scatter_nd", MakeScatterNd},
    {"resample", MakeResample},
    {"fold", MakeFold},
    {"scan", MakeScan},
    {"top_k", MakeTopK},
    {"recurrent", MakeRecurrent},
    {"matmul8", MakeMatMul8},
    {"softmax8", MakeSoftmax8},
    {"grid_sample", MakeGridSample},
    {"conv_chain8", MakeConvChain8},
    {"layer_norm8", MakeLayerNorm8},
    {"squeeze_excite8", MakeSqueezeExcite8},
    {"dense4", MakeDense4},
};

}  // namespace

StepMaker MakerOf(uint16_t kind) {
  return kind <= file::kLastOperatorKind ? kKinds[kind].maker : nullptr;
}
const char* KindName(uint16_t kind) {
  return kind <= file::kLastOperatorKind ? kKinds[kind].name : "unknown";
}

Status Binding::Error(const std::string& what) const {
  return Status::Error("operator '" + std::string(view_.Name(op_)) + "' (" + KindName(op_.kind) +
                       ") " + what);
}

Status Binding::Counts(int inputs, int outputs, int constants) const {
  if (op_.input_count == inputs && op_.output_count == outputs && op_.constant_count == constants) {
    return {};
  }
  return Error("has " + std::to_string(op_.input_count) + " inputs, " +
               std::to_string(op_.output_count) + " outputs and " +
               std::to_string(op_.constant_count) + " constants; it takes " +
               std::to_string(inputs) + ", " + std::to_string(outputs) + " and " +
               std::to_string(constants));
}

Status Binding::Types(file::Type input, file::Type output) const {
  for (const uint32_t id : view_.Inputs(op_)) {
    if (view_.tensors[id].type != static_cast<uint8_t>(input)) {
      return Error("reads tensor " + std::to_string(id) + ", which is of another type");
    }
  }
  for (const uint32_t id : view_.Outputs(op_)) {
    if (view_.tensors[id].type != static_cast<uint8_t>(output)) {
      return Error("writes tensor " + std::to_string(id) + ", which is of another type");
    }
  }
  return {};
}

const std::byte* Binding::Read(const file::Tensor& tensor) const {
  if (tensor.place == static_cast<uint8_t>(file::Place::kConstant)) {
    return view_.ConstantBytes(view_.constants[tensor.offset]).data();
  }
  return Write(tensor);
}

std::byte* Binding::Write(const file::Tensor& tensor) const {
  switch (static_cast<file::Place>(tensor.place)) {
    case file::Place::kArena:
      return buffers_.arena + tensor.offset;
    case file::Place::kInput:
      return buffers_.inputs[tensor.offset];
    case file::Place::kOutput:
      return buffers_.outputs[tensor.offset];
    case file::Place::kConstant:
      break;  // nothing writes there: the plan's check
  }
  return nullptr;
}

std::span<const std::byte> Binding::ConstantBytes(int i) const {
  const file::Constant* packing = PackingFor(view_, view_.Constants(op_)[i], kernels_.isa);
  return packing == nullptr ? std::span<const std::byte>() : view_.ConstantBytes(*packing);
}

Status Binding::Constant(int i, int64_t bytes, const void*& data) const {
  const std::span<const std::byte> found = ConstantBytes(i);
  if (static_cast<int64_t>(found.size()) < bytes) {
    return Error("has " + std::to_string(found.size()) + " bytes in constant " + std::to_string(i) +
                 " and needs " + std::to_string(bytes));
  }
  data = found.data();
  return {};
}

const file::Constant* PackingFor(const FileView& view, uint32_t constant, Isa isa) {
  // No file has more packings than instruction sets: a longer chain is not walked.
  uint32_t id = constant;
  for (int i = 0; i < kMostPackings && id != file::kNone; ++i, id = view.constants[id].next) {
    if (view.constants[id].kernels >> static_cast<int>(isa) & 1) return &view.constants[id];
  }
  return nullptr;
}

}  // namespace ds::engine
