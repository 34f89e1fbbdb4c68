#include "deploy/engine/compile/emit.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "deploy/engine/compile/file/writer.h"
#include "deploy/engine/runtime/kernels/pack/pack.h"

namespace ds::engine::compile {
namespace {

using file::FileWriter;
using file::OperatorKind;

template <typename T>
std::span<const std::byte> AsBytes(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

// As the runtime sees a tensor: [N, H, W, C], or one image of one line.
Dims Extents(const ProgramTensor& tensor) {
  if (tensor.dims.size() == 4) return tensor.dims;
  const int64_t columns = tensor.dims.empty() ? 1 : tensor.dims.back();
  return {1, 1, Elements(tensor.dims) / columns, columns};
}

ConvShape ShapeOf(const Program& program, const Step& step, const file::Window& w) {
  const Dims in = Extents(program.tensors[step.inputs[0]]);
  const Dims out = Extents(program.tensors[step.outputs[0]]);
  const auto number = [](auto value) { return static_cast<int32_t>(value); };
  return {number(in[0]),
          number(in[1]),
          number(in[2]),
          number(in[3] / w.groups),
          number(out[1]),
          number(out[2]),
          number(out[3] / w.groups),
          number(w.groups),
          number(w.kernel_h),
          number(w.kernel_w),
          number(w.stride_h),
          number(w.stride_w),
          number(w.dilation_h),
          number(w.dilation_w),
          number(w.pad_top),
          number(w.pad_left)};
}

class Emitter {
 public:
  Emitter(const Program& program, const ProgramPlan& plan, const std::vector<Isa>& isas,
          FileWriter& writer)
      : program_(program),
        plan_(plan),
        isas_(isas),
        numbers_(program.tensors.size(), file::kNone),
        writer_(writer) {}

  absl::Status Run() {
    MarkUsed();
    for (size_t i = 0; i < program_.tensors.size(); ++i) {
      if (used_[i]) AddTensor(static_cast<int>(i));
    }
    for (size_t i = 0; i < program_.tensors.size(); ++i) {
      const ProgramTensor& tensor = program_.tensors[i];
      if (used_[i] && tensor.view_of >= 0) {
        writer_.tensor(numbers_[i]).view_of = numbers_[tensor.view_of];
      }
    }
    for (const Step& step : program_.steps) DS_RETURN_IF_ERROR(AddStep(step));
    writer_.SetInterface(Numbers(program_.inputs), Numbers(program_.outputs));
    const auto bytes = [](int64_t count) { return static_cast<uint64_t>(count); };
    writer_.SetArena(
        {bytes(plan_.arena.bytes), bytes(plan_.arena.bound), bytes(plan_.arena.apart)});
    return absl::OkStatus();
  }

 private:
  void MarkUsed() {
    used_.assign(program_.tensors.size(), false);
    const auto mark = [&](const std::vector<int>& ids) {
      for (const int id : ids) used_[id] = used_[RootOf(program_, id)] = true;
    };
    mark(program_.inputs);
    mark(program_.outputs);
    for (const Step& step : program_.steps) {
      mark(step.inputs);
      mark(step.outputs);
    }
  }

  std::vector<uint32_t> Numbers(const std::vector<int>& ids) const {
    std::vector<uint32_t> result;
    for (const int id : ids) result.push_back(numbers_[id]);
    return result;
  }

  void AddTensor(int id) {
    const ProgramTensor& tensor = program_.tensors[id];
    FileWriter::TensorSpec spec{.name = tensor.name,
                                .type = tensor.type,
                                .dims = {tensor.dims.begin(), tensor.dims.end()},
                                .place = tensor.place,
                                .offset = static_cast<uint64_t>(tensor.number)};
    if (tensor.type == file::Type::kUint8) {
      spec.scale = tensor.codes.scale;
      spec.zero_point = tensor.codes.zero;
    }
    if (tensor.first >= 0) spec.row_bytes = static_cast<uint32_t>(RowBytes(program_, id));
    if (tensor.place == file::Place::kArena) {
      spec.offset = static_cast<uint64_t>(std::max<int64_t>(plan_.offsets[id], 0));
    } else if (tensor.place == file::Place::kConstant) {
      spec.offset = AddConstantTensor(tensor);
    }
    numbers_[id] = writer_.AddTensor(std::move(spec));
  }

  uint32_t AddConstantTensor(const ProgramTensor& tensor) {
    return writer_.AddConstant(tensor.data);
  }

  // Equal bytes serve several instruction sets.
  template <typename Pack>
  uint32_t Packed(Pack pack) {
    std::vector<FileWriter::Packing> packings;
    for (const Isa isa : isas_) {
      std::vector<std::byte> bytes = pack(isa);
      const uint32_t bit = 1u << static_cast<int>(isa);
      const auto same = std::find_if(packings.begin(), packings.end(),
                                     [&](const auto& other) { return other.bytes == bytes; });
      if (same != packings.end()) {
        same->kernels |= bit;
      } else {
        packings.push_back({std::move(bytes), bit});
      }
    }
    return writer_.AddPackings(std::move(packings));
  }

  uint32_t PackCodes(const Step& step, const ConvShape& shape) {
    const int8_t* codes = step.codes.data();
    return Packed([&](Isa isa) {
      const bool depthwise = step.kind == OperatorKind::kDepthwise8;
      const bool four = step.kind == OperatorKind::kConv4 || step.kind == OperatorKind::kDense4;
      std::vector<std::byte> packed(static_cast<size_t>(depthwise ? PackedDepthwiseBytes(isa, shape)
                                                        : four
                                                            ? PackedConv4Bytes(isa, shape)
                                                            : PackedConvBytes(isa, shape, codes)));
      const auto pack = depthwise ? PackDepthwise : four ? PackConv4 : PackConv;
      pack(isa, shape, codes, reinterpret_cast<uint8_t*>(packed.data()));
      return packed;
    });
  }

  absl::Status AddCodeConstants(const Step& step, std::vector<uint32_t>& constants) {
    const auto& parameters = std::get<file::Conv8Parameters>(step.parameters);
    const ConvShape shape = ShapeOf(program_, step, parameters.window);
    const bool depthwise = step.kind == OperatorKind::kDepthwise8;
    const int64_t padded = depthwise ? PaddedDepthwiseChannels(shape) : PaddedChannels(shape);
    std::vector<int32_t> bias(static_cast<size_t>(padded));
    const int32_t* given = step.bias.empty() ? nullptr : step.bias.data();
    const auto fold = depthwise ? FoldDepthwiseBias : FoldBias;
    if (!fold(shape, step.codes.data(), given, parameters.input_zero, bias.data())) {
      return absl::UnimplementedError(
          absl::StrCat("node '", step.name,
                       "': a sum of its codes could leave 32 bits; split its input "
                       "channels, or keep the node in float when quantising"));
    }
    constants.push_back(PackCodes(step, shape));
    std::vector<float> multiplier(static_cast<size_t>(padded));
    (depthwise ? PadDepthwiseChannels : PadChannels)(shape, step.multiplier.data(),
                                                     multiplier.data());
    constants.push_back(writer_.AddConstant(AsBytes(bias)));
    constants.push_back(writer_.AddConstant(AsBytes(multiplier)));
    return absl::OkStatus();
  }

  // Each stage's, in order.
  absl::Status AddChainConstants(const Step& step, std::vector<uint32_t>& constants) {
    for (const Step& stage : step.stages) {
      DS_RETURN_IF_ERROR(AddCodeConstants(stage, constants));
      if (stage.table) constants.push_back(AddTable(*stage.table));
    }
    return absl::OkStatus();
  }
  file::ConvChain8Parameters ChainOf(const Step& step) const {
    file::ConvChain8Parameters chain = {};
    chain.stage_count = static_cast<uint32_t>(step.stages.size());
    for (size_t i = 0; i < step.stages.size(); ++i) {
      const Step& stage = step.stages[i];
      const Dims out = Extents(program_.tensors[stage.outputs[0]]);
      file::Conv8Parameters conv = std::get<file::Conv8Parameters>(stage.parameters);
      conv.has_table = stage.table.has_value();
      chain.stages[i] = {static_cast<uint32_t>(stage.kind), static_cast<uint32_t>(out[1]),
                         static_cast<uint32_t>(out[2]), static_cast<uint32_t>(out[3]), conv};
    }
    return chain;
  }

  absl::Status AddGateConstants(const Step& step, std::vector<uint32_t>& constants) {
    for (const Step& stage : step.stages) {
      if (std::holds_alternative<file::Conv8Parameters>(stage.parameters))
        DS_RETURN_IF_ERROR(AddCodeConstants(stage, constants));
      if (stage.table) constants.push_back(AddTable(*stage.table));
    }
    return absl::OkStatus();
  }
  static file::SqueezeExcite8Parameters GateOf(const Step& step) {
    const auto& pool = std::get<file::Pool8Parameters>(step.stages[0].parameters);
    const auto stage = [&](int i) {
      const Step& product = step.stages[i];
      file::Conv8Parameters conv = std::get<file::Conv8Parameters>(product.parameters);
      conv.has_table = product.table.has_value();
      return file::GateStage{static_cast<uint32_t>(product.kind), conv};
    };
    auto product = std::get<file::Multiply8Parameters>(step.stages[3].parameters);
    product.has_table = step.stages[3].table.has_value();
    product.spread = static_cast<uint32_t>(file::Spread::kImageRow);
    return {pool.scale_in, pool.scale_out, pool.zero_in, pool.zero_out, pool.low,
            pool.high,     stage(1),       stage(2),     product};
  }

  uint32_t AddTable(const CodeTable& table) {
    return writer_.AddConstant(std::as_bytes(std::span(table)));
  }

  // Its bias is folded already.
  void AddDenseConstants(const Step& step, std::vector<uint32_t>& constants) {
    const ConvShape shape = ShapeOf(program_, step, {1, 1, 1, 1, 1, 1, 0, 0, 1});
    constants.push_back(PackCodes(step, shape));
    std::vector<int32_t> bias(static_cast<size_t>(PaddedChannels(shape)));
    std::copy(step.bias.begin(), step.bias.end(), bias.begin());
    constants.push_back(writer_.AddConstant(AsBytes(bias)));
    for (const std::vector<float>* values : {&step.multiplier, &step.real_bias}) {
      std::vector<float> padded(bias.size());
      PadChannels(shape, values->empty() ? nullptr : values->data(), padded.data());
      constants.push_back(writer_.AddConstant(AsBytes(padded)));
    }
  }

  void AddBlockConstants(const Step& step, std::vector<uint32_t>& constants) {
    const ConvShape shape = ShapeOf(program_, step, {1, 1, 1, 1, 1, 1, 0, 0, 1});
    constants.push_back(PackCodes(step, shape));
    const int64_t padded = PaddedChannels(shape);
    const auto blocks = static_cast<int64_t>(step.multiplier.size()) / shape.out_channels;
    std::vector<float> scales(static_cast<size_t>(blocks * padded)), shift(padded);
    for (int64_t block = 0; block < blocks; ++block) {
      PadChannels(shape, step.multiplier.data() + block * shape.out_channels,
                  scales.data() + block * padded);
    }
    PadChannels(shape, step.real_bias.empty() ? nullptr : step.real_bias.data(), shift.data());
    constants.push_back(writer_.AddConstant(AsBytes(scales)));
    constants.push_back(writer_.AddConstant(AsBytes(shift)));
  }

  void AddRealConstants(const Step& step, std::vector<uint32_t>& constants) {
    const auto& parameters = std::get<file::ConvF32Parameters>(step.parameters);
    const ConvShape shape = ShapeOf(program_, step, parameters.window);
    const bool depthwise = step.kind == OperatorKind::kDepthwiseF32;
    constants.push_back(Packed([&](Isa isa) {
      std::vector<float> packed(static_cast<size_t>(depthwise ? PackedDepthwiseF32Floats(isa, shape)
                                                              : PackedConvF32Floats(isa, shape)));
      (depthwise ? PackDepthwiseF32 : PackConvF32)(isa, shape, step.reals.data(), packed.data());
      const auto bytes = AsBytes(packed);
      return std::vector<std::byte>(bytes.begin(), bytes.end());
    }));
    std::vector<float> bias(
        static_cast<size_t>(depthwise ? PaddedDepthwiseChannels(shape) : PaddedChannels(shape)));
    const float* given = step.real_bias.empty() ? nullptr : step.real_bias.data();
    (depthwise ? PadDepthwiseChannels : PadChannels)(shape, given, bias.data());
    constants.push_back(writer_.AddConstant(AsBytes(bias)));
  }

  absl::Status AddStep(const Step& step) {
    FileWriter::OperatorSpec spec{.kind = step.kind,
                                  .name = step.name,
                                  .inputs = Numbers(step.inputs),
                                  .outputs = Numbers(step.outputs),
                                  .story = absl::StrJoin(step.story, "; "),
                                  .macs = static_cast<uint64_t>(step.macs)};
    Parameters parameters = step.parameters;
    if (auto* conv = std::get_if<file::Conv8Parameters>(&parameters)) {
      DS_RETURN_IF_ERROR(AddCodeConstants(step, spec.constants));
      conv->has_table = step.table.has_value();
    } else if (step.kind == OperatorKind::kConvChain8) {
      DS_RETURN_IF_ERROR(AddChainConstants(step, spec.constants));
      parameters = ChainOf(step);
    } else if (step.kind == OperatorKind::kSqueezeExcite8) {
      DS_RETURN_IF_ERROR(AddGateConstants(step, spec.constants));
      parameters = GateOf(step);
    } else if (step.kind == OperatorKind::kDense8) {
      AddDenseConstants(step, spec.constants);
    } else if (step.kind == OperatorKind::kDense4) {
      AddBlockConstants(step, spec.constants);
    } else if (std::holds_alternative<file::ConvF32Parameters>(parameters)) {
      AddRealConstants(step, spec.constants);
    } else if (step.kind == OperatorKind::kSoftmax8) {
      spec.constants.push_back(writer_.AddConstant(AsBytes(step.bias)));
    } else if (std::holds_alternative<file::LayerNormParameters>(parameters) ||
               std::holds_alternative<file::LayerNorm8Parameters>(parameters)) {
      if (!step.multiplier.empty()) {
        spec.constants.push_back(writer_.AddConstant(AsBytes(step.multiplier)));
      }
      if (!step.real_bias.empty()) {
        spec.constants.push_back(writer_.AddConstant(AsBytes(step.real_bias)));
      }
    } else if (auto* add = std::get_if<file::Add8Parameters>(&parameters)) {
      add->has_table = step.table.has_value();
    } else if (auto* product = std::get_if<file::Multiply8Parameters>(&parameters)) {
      product->has_table = step.table.has_value();
    }
    if (step.table) spec.constants.push_back(AddTable(*step.table));
    std::visit(
        [&](const auto& value) {
          if constexpr (!std::is_same_v<std::decay_t<decltype(value)>, std::monostate>) {
            spec.parameters = file::BytesOf(value);
          }
        },
        parameters);
    writer_.AddOperator(std::move(spec));
    return absl::OkStatus();
  }

  const Program& program_;
  const ProgramPlan& plan_;
  const std::vector<Isa>& isas_;
  std::vector<uint32_t> numbers_;
  std::vector<bool> used_;
  FileWriter& writer_;
};

}  // namespace

absl::Status Emit(const Program& program, const ProgramPlan& plan, const std::vector<Isa>& isas,
                  FileWriter& writer) {
  return Emitter(program, plan, isas, writer).Run();
}

}  // namespace ds::engine::compile
