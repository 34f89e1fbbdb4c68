#include "tests/deploy/engine/runtime/every_kind.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "deploy/engine/compile/file/writer.h"
#include "deploy/engine/runtime/kernels/pack/pack.h"

namespace ds::engine::testing {
namespace {

using file::BytesOf;
using file::FileWriter;
using file::OperatorKind;
using file::Place;
using file::Type;

constexpr uint32_t kH = 3, kC = 4;
constexpr ConvShape kShape = {1, kH, kH, kC, kH, kH, kC, 1, 3, 3, 1, 1, 1, 1, 1, 1};
constexpr ConvShape kChannels = {1, kH, kH, 1, kH, kH, 1, kC, 3, 3, 1, 1, 1, 1, 1, 1};
constexpr file::Window kWindow = {3, 3, 1, 1, 1, 1, 1, 1, 1};
constexpr file::Window kByChannels = {3, 3, 1, 1, 1, 1, 1, 1, kC};

class EveryKind {
 public:
  std::string Write() {
    const uint32_t image = Port("image", Place::kInput, {1, kC, kH, kH});
    const uint32_t codes = Codes();
    Add(OperatorKind::kQuantise, {image}, codes, BytesOf(file::QuantiseParameters{0.1f, 128, kC}));
    const uint32_t convolved = Codes(), deep = Codes(), four = Codes();
    file::Conv8Parameters conv = {kWindow, 128, 10, 0, 255, 1, 1, {1, 1, 0, 0, 0, 0, 255}};
    Add(OperatorKind::kConv8, {codes, codes}, convolved, BytesOf(conv), Weights8(true));
    conv.has_sum = 0;
    Add(OperatorKind::kConv4, {convolved}, four, BytesOf(conv), Weights4());
    conv.has_table = 0;
    conv.window = kByChannels;
    Add(OperatorKind::kDepthwise8, {four}, deep, BytesOf(conv), WeightsOfChannels());
    const uint32_t chained = Codes();
    Add(OperatorKind::kConvChain8, {deep, four}, chained, BytesOf(Chain()), ChainWeights());
    const uint32_t excited = Excited(chained);
    const uint32_t pooled = Codes(), summed = Codes(), product = Codes(), looked_up = Codes();
    Add(OperatorKind::kPool8, {excited}, pooled,
        BytesOf(file::Pool8Parameters{{kByChannels, 1, 1}, 0.1f, 0.1f, 3, 4, 0, 255}));
    Add(OperatorKind::kAdd8, {pooled, deep}, summed,
        BytesOf(file::Add8Parameters{{1, 0.5f, 3, 2, 1, 0, 255}, 0, 1}), {Table()});
    Add(OperatorKind::kMultiply8, {summed, deep}, product,
        BytesOf(file::Multiply8Parameters{0.01f, 3, 2, 1, 0, 255, 0, 0}));
    Add(OperatorKind::kLookup8, {product}, looked_up, {}, {Table()});
    const uint32_t two = Tensor("two", Type::kUint8, {1, kH, kH, 2 * kC}, 2 * kBytes);
    Add(OperatorKind::kConcat, {looked_up, deep}, two, BytesOf(file::ConcatParameters{kH * kH}));
    const uint32_t coded = Port("codes", Place::kOutput, {1, kH, kH, 2 * kC});
    Add(OperatorKind::kDequantise, {two}, coded, BytesOf(file::QuantiseParameters{0.1f, 3, 1}));

    const uint32_t dense = Floats();
    Add(OperatorKind::kDense8, {looked_up}, dense, {}, DenseWeights());
    const uint32_t blocks = Floats(), blocks32 = Floats();
    Add(OperatorKind::kDense4, {looked_up}, blocks, BytesOf(file::Dense4Parameters{8, 128}),
        BlockWeights());
    Add(OperatorKind::kDense4, {blocks}, blocks32, BytesOf(file::Dense4Parameters{8, 0}),
        BlockWeights());

    const uint32_t floats = Floats(), turned = Floats(), convolved32 = Floats(), deep32 = Floats();
    Add(OperatorKind::kDequantise, {looked_up}, floats,
        BytesOf(file::QuantiseParameters{0.1f, 3, 1}));
    Add(OperatorKind::kMove, {floats}, turned,
        BytesOf(file::MoveParameters{{1, 1, 1, kH, kH, kC}, {0, 0, 0, kC, kC * kH, 1}, 0}));
    Add(OperatorKind::kConvF32, {turned, floats}, convolved32,
        BytesOf(file::ConvF32Parameters{kWindow, 4, 0, 0, 1}), FloatWeights(false));
    Add(OperatorKind::kDepthwiseF32, {convolved32}, deep32,
        BytesOf(file::ConvF32Parameters{kByChannels, 1, 0, 6, 0}), FloatWeights(true));
    const uint32_t pooled32 = Floats(), summed32 = Floats(), activated = Floats(), norm = Floats();
    Add(OperatorKind::kPoolF32, {deep32}, pooled32,
        BytesOf(file::PoolF32Parameters{kByChannels, 0, 0}));
    Add(OperatorKind::kBinaryF32, {pooled32, deep32}, summed32,
        BytesOf(file::BinaryF32Parameters{2, 0, 3, 0, 0}));
    Add(OperatorKind::kActivateF32, {summed32}, activated,
        BytesOf(file::ActivateParameters{7, 0, 0}));
    Add(OperatorKind::kLayerNormF32, {activated}, norm,
        BytesOf(file::LayerNormParameters{1e-5f, 1, 0}), {Constant(std::vector<float>(kC, 2))});
    const uint32_t products = Tensor("products", Type::kFloat32, {1, kH * kH, kH * kH}, 4 * 81);
    Add(OperatorKind::kMatMulF32, {norm, activated}, products,
        BytesOf(file::MatMulParameters{1, kH * kH, kC, kH * kH, 1}));
    const uint32_t rows = writer_.AddTensor(
        {.name = "rows", .type = Type::kInt64, .dims = {2}, .place = Place::kInput, .offset = 1});
    const uint32_t gathered = Tensor("gathered", Type::kFloat32, {2, kH * kH}, 4 * 18);
    Add(OperatorKind::kGather, {products, rows}, gathered, {});
    const uint32_t shares = Port("shares", Place::kOutput, {2, kH * kH});
    Add(OperatorKind::kSoftmaxF32, {gathered}, shares, {});
    writer_.SetInterface({image, rows}, {coded, shares});
    writer_.SetArena({end_, end_, end_});
    return writer_.Bytes();
  }

 private:
  static constexpr uint64_t kBytes = kH * kH * kC;

  uint32_t Tensor(const char* name, Type type, std::vector<uint32_t> dims, uint64_t bytes) {
    const uint64_t offset = end_;
    end_ += (bytes + 63) / 64 * 64;
    return writer_.AddTensor(
        {.name = name, .type = type, .dims = std::move(dims), .offset = offset});
  }
  uint32_t Codes() {
    last_codes_ = end_;
    return Tensor("codes", Type::kUint8, {1, kH, kH, kC}, kBytes);
  }
  uint32_t Floats() { return Tensor("floats", Type::kFloat32, {1, kH, kH, kC}, 4 * kBytes); }
  uint32_t Port(const char* name, Place place, std::vector<uint32_t> dims) {
    return writer_.AddTensor({.name = name,
                              .dims = std::move(dims),
                              .place = place,
                              .offset = place == Place::kOutput ? outputs_++ : 0});
  }
  void Add(OperatorKind kind, std::vector<uint32_t> inputs, uint32_t output,
           std::vector<std::byte> parameters, std::vector<uint32_t> constants = {}) {
    writer_.AddOperator({.kind = kind,
                         .name = "operator",
                         .inputs = std::move(inputs),
                         .outputs = {output},
                         .constants = std::move(constants),
                         .parameters = std::move(parameters)});
  }

  template <typename T>
  uint32_t Constant(const std::vector<T>& values) {
    return writer_.AddConstant(std::as_bytes(std::span(values)));
  }
  uint32_t Table() {
    std::vector<uint8_t> table(256);
    for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<uint8_t>(255 - i);
    return Constant(table);
  }
  // One packing for each instruction set; `pack` returns its bytes.
  template <typename Pack>
  uint32_t Packed(Pack pack) {
    std::vector<FileWriter::Packing> packings;
    for (int i = 0; i < kIsaCount; ++i) {
      const auto bytes = std::as_bytes(std::span(packed_ = pack(static_cast<Isa>(i))));
      packings.push_back({{bytes.begin(), bytes.end()}, 1u << i});
    }
    return writer_.AddPackings(std::move(packings));
  }
  std::vector<uint32_t> Tail(int64_t padded, bool table) {
    std::vector<uint32_t> constants = {Constant(std::vector<int32_t>(padded, 3)),
                                       Constant(std::vector<float>(padded, 0.01f))};
    if (table) constants.push_back(Table());
    return constants;
  }
  std::vector<uint32_t> With(uint32_t weights, std::vector<uint32_t> tail) {
    tail.insert(tail.begin(), weights);
    return tail;
  }
  std::vector<uint32_t> Weights8(bool table) {
    const std::vector<int8_t> weights(kC * 9 * kC, -3);
    return With(Packed([&](Isa isa) {
                  std::vector<uint8_t> out(PackedConvBytes(isa, kShape, weights.data()));
                  PackConv(isa, kShape, weights.data(), out.data());
                  return out;
                }),
                Tail(PaddedChannels(kShape), table));
  }
  std::vector<uint32_t> Weights4() {
    const std::vector<int8_t> weights(kC * 9 * kC, -3);
    return With(Packed([&](Isa isa) {
                  std::vector<uint8_t> out(PackedConv4Bytes(isa, kShape));
                  PackConv4(isa, kShape, weights.data(), out.data());
                  return out;
                }),
                Tail(PaddedChannels(kShape), true));
  }
  std::vector<uint32_t> DenseWeights() {
    constexpr ConvShape kDense = {1, 1, kH * kH, kC, 1, kH * kH, kC};
    const std::vector<int8_t> weights(kC * kC, 7);
    return With(Packed([&](Isa isa) {
                  std::vector<uint8_t> out(PackedConvBytes(isa, kDense, weights.data()));
                  PackConv(isa, kDense, weights.data(), out.data());
                  return out;
                }),
                {Constant(std::vector<int32_t>(PaddedChannels(kDense), -9)),
                 Constant(std::vector<float>(PaddedChannels(kDense), 0.01f)),
                 Constant(std::vector<float>(PaddedChannels(kDense), 0.5f))});
  }
  std::vector<uint32_t> BlockWeights() {
    constexpr ConvShape kDense = {1, 1, kH * kH, kC, 1, kH * kH, kC};
    const std::vector<int8_t> weights(kC * kC, -7);
    return With(Packed([&](Isa isa) {
                  std::vector<uint8_t> out(PackedConv4Bytes(isa, kDense));
                  PackConv4(isa, kDense, weights.data(), out.data());
                  return out;
                }),
                {Constant(std::vector<float>(PaddedChannels(kDense), 0.01f)),
                 Constant(std::vector<float>(PaddedChannels(kDense), 0.5f))});
  }
  std::vector<uint32_t> WeightsOfChannels() {
    const std::vector<int8_t> weights(9 * kC, 5);
    return With(Packed([&](Isa isa) {
                  std::vector<uint8_t> out(PackedDepthwiseBytes(isa, kChannels));
                  PackDepthwise(isa, kChannels, weights.data(), out.data());
                  return out;
                }),
                Tail(PaddedDepthwiseChannels(kChannels), false));
  }
  static file::ConvChain8Parameters Chain() {
    file::Conv8Parameters conv = {kWindow, 128, 10, 0, 255, 1, 0, {}}, last = conv, deep = conv;
    deep.window = kByChannels;
    deep.has_table = 0;
    last.has_sum = 1;
    last.sum = {1, 1, 0, 0, 0, 0, 255};
    const auto kind = [](OperatorKind of) { return static_cast<uint32_t>(of); };
    return {3,
            {{kind(OperatorKind::kConv8), kH, kH, kC, conv},
             {kind(OperatorKind::kDepthwise8), kH, kH, kC, deep},
             {kind(OperatorKind::kConv4), kH, kH, kC, last}}};
  }
  std::vector<uint32_t> ChainWeights() {
    std::vector<uint32_t> all;
    for (const auto& stage : {Weights8(true), WeightsOfChannels(), Weights4()})
      all.insert(all.end(), stage.begin(), stage.end());
    return all;
  }
  // What squeeze-excite makes of an image, in place.
  uint32_t Excited(uint32_t image) {
    constexpr ConvShape kRow = {1, 1, 1, kC, 1, 1, kC};
    const std::vector<int8_t> weights(kC * kC, 7);
    std::vector<uint32_t> constants;
    for (const bool four : {false, true}) {
      const uint32_t packed = Packed([&](Isa isa) {
        std::vector<uint8_t> out(four ? PackedConv4Bytes(isa, kRow)
                                      : PackedConvBytes(isa, kRow, weights.data()));
        (four ? PackConv4 : PackConv)(isa, kRow, weights.data(), out.data());
        return out;
      });
      const auto all = With(packed, Tail(PaddedChannels(kRow), true));
      constants.insert(constants.end(), all.begin(), all.end());
    }
    const file::Conv8Parameters conv = {{1, 1, 1, 1, 1, 1, 0, 0, 1}, 128, 10, 0, 255, 1, 0, {}};
    const file::SqueezeExcite8Parameters parameters = {
        0.1f,
        0.1f,
        3,
        4,
        0,
        255,
        {static_cast<uint32_t>(OperatorKind::kConv8), conv},
        {static_cast<uint32_t>(OperatorKind::kConv4), conv},
        {0.01f, 3, 2, 1, 0, 255, static_cast<uint32_t>(file::Spread::kImageRow), 1}};
    constants.push_back(Table());
    const auto row = [&](const char* name) {
      return Tensor(name, Type::kUint8, {1, 1, 1, kC}, kC);
    };
    const uint32_t result = writer_.AddTensor(
        {.name = "excited", .type = Type::kUint8, .dims = {1, kH, kH, kC}, .offset = last_codes_});
    writer_.AddOperator({.kind = OperatorKind::kSqueezeExcite8,
                         .name = "operator",
                         .inputs = {image},
                         .outputs = {result, row("averages"), row("reduced"), row("gates")},
                         .constants = std::move(constants),
                         .parameters = BytesOf(parameters)});
    return result;
  }
  std::vector<uint32_t> FloatWeights(bool channels) {
    const ConvShape& shape = channels ? kChannels : kShape;
    const std::vector<float> weights(kC * 9 * kC, 0.1f);
    const auto pack = [&](Isa isa) {
      std::vector<float> out(channels ? PackedDepthwiseF32Floats(isa, shape)
                                      : PackedConvF32Floats(isa, shape));
      channels ? PackDepthwiseF32(isa, shape, weights.data(), out.data())
               : PackConvF32(isa, shape, weights.data(), out.data());
      const auto bytes = std::as_bytes(std::span(out));
      const auto* first = reinterpret_cast<const uint8_t*>(bytes.data());
      return std::vector<uint8_t>(first, first + bytes.size());
    };
    const int64_t padded = channels ? PaddedDepthwiseChannels(shape) : PaddedChannels(shape);
    return {Packed(pack), Constant(std::vector<float>(padded, 0.5f))};
  }

  FileWriter writer_;
  std::vector<uint8_t> packed_;
  uint64_t end_ = 0, outputs_ = 0, last_codes_ = 0;
};

}  // namespace

std::string EveryKindFile() { return EveryKind().Write(); }

}  // namespace ds::engine::testing
