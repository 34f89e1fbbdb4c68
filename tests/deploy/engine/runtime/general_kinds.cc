#include "tests/deploy/engine/runtime/general_kinds.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "deploy/engine/compile/file/writer.h"
#include "deploy/engine/runtime/general.h"
#include "deploy/engine/runtime/kernels/pack/pack.h"

namespace ds::engine::testing {
namespace {

using file::BytesOf;
using file::FileWriter;
using file::OperatorKind;
using file::Place;
using file::Type;
using Dims = std::vector<uint32_t>;

uint32_t Field(auto way) { return static_cast<uint32_t>(way); }

class GeneralKinds {
 public:
  std::string Write() {
    const uint32_t x = Input("x", Type::kFloat32, {2, 3, 4});
    const uint32_t which = Input("which", Type::kInt64, {2, 2});
    const uint32_t bits =
        Add(OperatorKind::kUnary, {x}, Floats({2, 3, 4}),
            BytesOf(file::UnaryParameters{Field(file::UnaryWay::kSelu), 1.6f, 1.05f}));
    const uint32_t ints = Add(OperatorKind::kCast, {bits}, Tensor(Type::kInt32, {2, 3, 4}),
                              BytesOf(file::CastParameters{0}));
    const uint32_t rest = Add(OperatorKind::kBinary, {ints, ints}, Tensor(Type::kInt32, {2, 3, 4}),
                              BytesOf(file::BinaryParameters{Field(file::BinaryWay::kModulo),
                                                             {1, 1, 1, 2, 3, 4},
                                                             {0, 0, 0, 12, 4, 1},
                                                             {0, 0, 0, 0, 4, 1}}));
    const uint32_t less = Add(OperatorKind::kBinary, {ints, rest}, Tensor(Type::kBool, {2, 3, 4}),
                              BytesOf(file::BinaryParameters{Field(file::BinaryWay::kLess),
                                                             {1, 1, 1, 1, 1, 24},
                                                             {0, 0, 0, 0, 0, 1},
                                                             {0, 0, 0, 0, 0, 1}}));
    const uint32_t chosen =
        Add(OperatorKind::kSelect, {less, x, bits}, Floats({2, 3, 4}),
            BytesOf(file::SelectParameters{
                {1, 1, 1, 2, 3, 4}, {0, 0, 0, 12, 4, 1}, {0, 0, 0, 12, 4, 1}, {0, 0, 0, 0, 4, 1}}));
    const uint32_t sums =
        Add(OperatorKind::kReduce, {chosen}, Floats({2, 4}),
            BytesOf(file::ReduceParameters{Field(file::ReduceWay::kMean), 2, 3, 4}));
    const uint32_t best =
        Add(OperatorKind::kReduce, {chosen}, Tensor(Type::kInt64, {2, 3}),
            BytesOf(file::ReduceParameters{Field(file::ReduceWay::kArgMaximumLast), 6, 4, 1}));
    const uint32_t taken = Add(OperatorKind::kTake, {chosen, best}, Floats({2, 3, 6}),
                               BytesOf(file::TakeParameters{6, 4, 1, 6, 1, {0, 0}}));
    const uint32_t points =
        Add(OperatorKind::kGatherNd, {chosen, which}, Floats({2, 4}),
            BytesOf(file::PointsParameters{{1, 1, 1, 1, 1, 2}, {}, 2, {2, 3}, {12, 4}, 4, 0}));
    const uint32_t scattered =
        Add(OperatorKind::kScatterNd, {chosen, which, points}, Floats({2, 3, 4}),
            BytesOf(file::PointsParameters{{1, 1, 1, 1, 1, 2}, {}, 2, {2, 3}, {12, 4}, 4, 1}));
    const uint32_t indices =
        Constant<int32_t>(Type::kInt32, {5, 2}, {0, 1, 1, 2, 0, 0, 2, 2, 1, 0});
    const uint32_t weights = Constant<float>(Type::kFloat32, {5, 2}, std::vector<float>(10, 0.5f));
    const uint32_t offsets = Constant<float>(Type::kFloat32, {5}, std::vector<float>(5, 0.25f));
    const uint32_t larger =
        Add(OperatorKind::kResample, {scattered, indices, weights, offsets}, Floats({2, 5, 4}),
            BytesOf(file::ResampleParameters{2, 3, 4, 5, 2}));
    // Windows of 2x1 with two channels, over images of 5x1.
    const uint32_t bias = Constant<float>(Type::kFloat32, {2}, {1, 2});
    const uint32_t folded = Add(OperatorKind::kFold, {larger, bias}, Floats({2, 9, 1, 2}),
                                BytesOf(file::FoldParameters{5, 1, 2, 1, 2, 1, 1, 1, 1, 0, 1}));
    const uint32_t running = Add(OperatorKind::kScan, {folded}, Floats({2, 9, 1, 2}),
                                 BytesOf(file::ScanParameters{2, 9, 2, 1, 1}));
    const uint32_t values = Floats({2, 2, 2}), places = Output(Type::kInt64, {2, 2, 2});
    writer_.AddOperator({.kind = OperatorKind::kTopK,
                         .name = "best",
                         .inputs = {running},
                         .outputs = {values, places},
                         .parameters = BytesOf(file::TopKParameters{2, 9, 2, 2, 1})});
    Recurrent(taken);
    const uint32_t codes = Add(OperatorKind::kQuantise, {sums}, Tensor(Type::kUint8, {2, 4}),
                               BytesOf(file::QuantiseParameters{0.02f, 128, 1}));
    const uint32_t normed = Tensor(Type::kUint8, {2, 4});
    const auto numbers = [&](float x) {
      const std::vector<float> values(4, x);
      return writer_.AddConstant(std::as_bytes(std::span(values)));
    };
    writer_.AddOperator(
        {.kind = OperatorKind::kLayerNorm8,
         .name = "normed",
         .inputs = {codes},
         .outputs = {normed},
         .constants = {numbers(2), numbers(0.5f)},
         .parameters = BytesOf(file::LayerNorm8Parameters{{1e-5f, 1, 1}, 0.02f, 0.03f, 128, 120})});
    const uint32_t product =
        Add(OperatorKind::kMatMul8, {codes, normed}, Tensor(Type::kUint8, {2, 2}),
            BytesOf(file::MatMul8Parameters{1, 2, 4, 2, 1, 0, 128, 128, 0.01f, 3, 0, 255}));
    std::vector<int32_t> exponents(256);
    SoftmaxTable(0.1f, 2, exponents.data());
    const uint32_t shares = Output(Type::kUint8, {2, 2});
    writer_.AddOperator({.kind = OperatorKind::kSoftmax8,
                         .name = "shares",
                         .inputs = {product},
                         .outputs = {shares},
                         .constants = {writer_.AddConstant(std::as_bytes(std::span(exponents)))},
                         .parameters = BytesOf(file::Softmax8Parameters{1.0f / 256, 0})});
    const uint32_t sampled = Output(Type::kFloat32, {2, 1, 2, 2});
    const uint32_t places2 =
        Constant<float>(Type::kFloat32, {2, 1, 2, 2}, {0, 0, -1.5f, 0.3f, 1, 1, 0.2f, -0.7f});
    writer_.AddOperator({.kind = OperatorKind::kGridSample,
                         .name = "sampled",
                         .inputs = {running, places2},
                         .outputs = {sampled},
                         .parameters = BytesOf(file::GridSampleParameters{2, 2, 0})});
    writer_.SetInterface({x, which}, {places, last_, shares, sampled});
    writer_.SetArena({end_, end_, end_});
    return writer_.Bytes();
  }

 private:
  uint32_t Tensor(Type type, Dims dims) {
    uint64_t bytes = type == Type::kInt64 ? 8 : type == Type::kBool || type == Type::kUint8 ? 1 : 4;
    for (const uint32_t dim : dims) bytes *= dim;
    const uint64_t offset = end_;
    end_ += (bytes + 63) / 64 * 64;
    return writer_.AddTensor(
        {.name = "tensor", .type = type, .dims = std::move(dims), .offset = offset});
  }
  uint32_t Floats(Dims dims) { return Tensor(Type::kFloat32, std::move(dims)); }
  uint32_t Input(const char* name, Type type, Dims dims) {
    return writer_.AddTensor({.name = name,
                              .type = type,
                              .dims = std::move(dims),
                              .place = Place::kInput,
                              .offset = inputs_++});
  }
  uint32_t Output(Type type, Dims dims) {
    return writer_.AddTensor({.name = "output",
                              .type = type,
                              .dims = std::move(dims),
                              .place = Place::kOutput,
                              .offset = outputs_++});
  }
  template <typename T>
  uint32_t Constant(Type type, Dims dims, const std::vector<T>& values) {
    return writer_.AddTensor({.name = "constant",
                              .type = type,
                              .dims = std::move(dims),
                              .place = Place::kConstant,
                              .offset = writer_.AddConstant(std::as_bytes(std::span(values)))});
  }
  uint32_t Add(OperatorKind kind, std::vector<uint32_t> inputs, uint32_t output,
               std::vector<std::byte> parameters) {
    writer_.AddOperator({.kind = kind,
                         .name = "operator",
                         .inputs = std::move(inputs),
                         .outputs = {output},
                         .parameters = std::move(parameters)});
    return output;
  }
  // An LSTM of 2 steps over 3 sequences of 6 numbers, 2 hidden.
  void Recurrent(uint32_t sequence) {
    const auto constant = [&](Dims dims) {
      uint32_t count = 1;
      for (const uint32_t dim : dims) count *= dim;
      return Constant<float>(Type::kFloat32, std::move(dims), std::vector<float>(count, 0.3f));
    };
    const uint32_t all = Floats({2, 3, 2}), h = Floats({3, 2});
    last_ = Output(Type::kFloat32, {3, 2});
    file::RecurrentParameters p{Field(file::RecurrentWay::kLstm), 2, 3, 6, 2, 1, 5, {}, {}, {}};
    for (uint32_t& way : p.activation) way = Field(file::UnaryWay::kTanh);
    writer_.AddOperator({.kind = OperatorKind::kRecurrent,
                         .name = "lstm",
                         .inputs = {sequence, constant({8, 6}), constant({8, 2}), constant({16}),
                                    constant({3, 2}), constant({3, 2}), constant({6})},
                         .outputs = {all, h, last_},
                         .parameters = BytesOf(p)});
  }

  FileWriter writer_;
  uint64_t end_ = 0, inputs_ = 0, outputs_ = 0;
  uint32_t last_ = 0;
};

}  // namespace

std::string GeneralKindsFile() { return GeneralKinds().Write(); }

}  // namespace ds::engine::testing
