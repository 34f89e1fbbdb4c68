#include "tests/deploy/engine/runtime/small_files.h"

namespace ds::engine::testing {
namespace {

using file::FileWriter;
using file::OperatorKind;
using file::Place;
using file::Type;

template <typename T>
std::vector<std::byte> Bytes(const std::vector<T>& values) {
  const auto* first = reinterpret_cast<const std::byte*>(values.data());
  return {first, first + values.size() * sizeof(T)};
}

file::Window WindowOf(const ConvShape& shape) {
  const auto u = [](int32_t value) { return static_cast<uint32_t>(value); };
  return {u(shape.kernel_h), u(shape.kernel_w),   u(shape.stride_h),
          u(shape.stride_w), u(shape.dilation_h), u(shape.dilation_w),
          u(shape.pad_top),  u(shape.pad_left),   u(shape.groups)};
}

// Weights in every packing, bias and multipliers.
std::vector<uint32_t> Constants(FileWriter& writer, const ConvShape& shape,
                                const std::vector<int8_t>& weights,
                                const std::vector<int32_t>& bias, int32_t zero, float multiplier) {
  std::vector<FileWriter::Packing> packings;
  for (int i = 0; i < kIsaCount; ++i) {
    const auto isa = static_cast<Isa>(i);
    std::vector<std::byte> packed(PackedConvBytes(isa, shape, weights.data()));
    PackConv(isa, shape, weights.data(), reinterpret_cast<uint8_t*>(packed.data()));
    packings.push_back({std::move(packed), 1u << i});
  }
  std::vector<int32_t> folded(PaddedChannels(shape));
  FoldBias(shape, weights.data(), bias.data(), zero, folded.data());
  const std::vector<float> factors(folded.size(), multiplier);
  return {writer.AddPackings(std::move(packings)), writer.AddConstant(Bytes(folded)),
          writer.AddConstant(Bytes(factors))};
}

}  // namespace

SmallNetwork::SmallNetwork() {
  std::mt19937 random(7);
  const auto fill = [&](std::vector<int8_t>& weights, int32_t count) {
    for (int32_t i = 0; i < count; ++i)
      weights.push_back(static_cast<int8_t>(static_cast<int>(random() % 255) - 127));
  };
  fill(first, kMiddle * 9 * kIn);
  fill(second, kMiddle * kMiddle);
  fill(last, kOut * kMiddle);
  for (int32_t i = 0; i < kMiddle; ++i)
    bias.push_back(static_cast<int32_t>(random() % 2000) - 1000);
}

std::string SmallNetwork::File(const std::vector<int32_t>& batches) const {
  FileWriter writer;
  for (size_t i = 0; i < batches.size(); ++i) {
    if (i > 0) writer.NextPlan();
    AddPlan(writer, batches[i]);
  }
  return writer.Bytes();
}

void SmallNetwork::AddPlan(FileWriter& writer, int32_t batch) const {
  const auto n = static_cast<uint32_t>(batch);
  const uint32_t in =
      writer.AddTensor({.name = "image", .dims = {n, kIn, kSize, kSize}, .place = Place::kInput});
  const auto codes = [&](const char* name, std::vector<uint32_t> dims, uint64_t offset) {
    return writer.AddTensor(
        {.name = name, .type = Type::kUint8, .dims = std::move(dims), .offset = offset});
  };
  const auto up = [&](uint32_t bytes) { return (n * bytes + 63) / 64 * 64; };
  const uint64_t after_q = up(kSize * kSize * kIn), wide_bytes = up(kSize * kSize * kMiddle);
  const uint32_t q = codes("q", {n, kSize, kSize, kIn}, 0);
  const uint32_t a = codes("a", {n, kSize, kSize, kMiddle}, after_q);
  const uint32_t b = codes("b", {n, kSize, kSize, kMiddle}, after_q + wide_bytes);
  const uint32_t pooled = codes("pooled", {n, 1, 1, kMiddle}, 0);
  const uint32_t logits = codes("logits", {n, 1, 1, kOut}, up(kMiddle));
  const uint32_t out =
      writer.AddTensor({.name = "scores", .dims = {n, kOut}, .place = Place::kOutput});
  writer.SetInterface({in}, {out});
  writer.SetArena({after_q + 2 * wide_bytes, 736 * n, 1000 * n});

  const auto add = [&](OperatorKind kind, const char* name, std::vector<uint32_t> inputs,
                       uint32_t output, std::vector<std::byte> parameters,
                       std::vector<uint32_t> constants = {}) {
    writer.AddOperator({.kind = kind,
                        .name = name,
                        .inputs = std::move(inputs),
                        .outputs = {output},
                        .constants = std::move(constants),
                        .parameters = std::move(parameters)});
  };
  add(OperatorKind::kQuantise, "quantise", {in}, q,
      file::BytesOf(file::QuantiseParameters{kScales[0], 128, kIn}));
  const ConvShape wide = {batch, kSize, kSize, kIn, kSize, kSize, kMiddle, 1,
                          3,     3,     1,     1,   1,     1,     1,       1};
  file::Conv8Parameters conv = {WindowOf(wide), 128, 100, 0, 255, 0, 0, {}};
  add(OperatorKind::kConv8, "wide", {q}, a, file::BytesOf(conv),
      Constants(writer, wide, first, bias, 128, 0.002f));
  const ConvShape narrow = {batch, kSize, kSize, kMiddle, kSize, kSize, kMiddle,
                            1,     1,     1,     1,       1,     1,     1};
  conv = {WindowOf(narrow), 100, 90, 90, 255, 0, 1, {0.7f, 0.9f, 90, 100, 30, 0, 255}};
  add(OperatorKind::kConv8, "narrow", {a, a}, b, file::BytesOf(conv),
      Constants(writer, narrow, second, bias, 100, 0.003f));
  const file::PoolF32Parameters pool = {
      {kSize, kSize, 1, 1, 1, 1, 0, 0, kMiddle}, static_cast<uint32_t>(file::PoolWay::kAverage), 0};
  add(OperatorKind::kPool8, "pool", {b}, pooled,
      file::BytesOf(file::Pool8Parameters{pool, 0.04f, 0.03f, 30, 20, 0, 255}));
  const ConvShape dense = {batch, 1, 1, kMiddle, 1, 1, kOut};
  conv = {WindowOf(dense), 20, 128, 0, 255, 0, 0, {}};
  add(OperatorKind::kConv8, "dense", {pooled}, logits, file::BytesOf(conv),
      Constants(writer, dense, last, std::vector<int32_t>(kOut, 5), 20, 0.004f));
  add(OperatorKind::kDequantise, "scores", {logits}, out,
      file::BytesOf(file::QuantiseParameters{kScales[3], 128, 1}));
}

}  // namespace ds::engine::testing
