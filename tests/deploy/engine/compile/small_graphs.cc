#include "tests/deploy/engine/compile/small_graphs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "deploy/engine/runtime/session.h"

namespace ds::testing {
namespace {

uint32_t Next(uint32_t& seed) {
  seed = seed * 1664525u + 1013904223u;
  return seed >> 8;
}

}  // namespace

ValueId CodeGraph::Input(const std::string& name, Shape shape) {
  return builder_.Input(name, DType::kFloat32, std::move(shape));
}

ValueId CodeGraph::Through(ValueId real, float scale, int zero) {
  const ValueId s = builder_.Constant("", Tensor::Scalar(scale));
  const ValueId z = is_signed_
                        ? builder_.Constant("", Tensor::Scalar(static_cast<int8_t>(zero - 128)))
                        : builder_.Constant("", Tensor::Scalar(static_cast<uint8_t>(zero)));
  return builder_.Op("DequantizeLinear", {builder_.Op("QuantizeLinear", {real, s, z}), s, z});
}

ValueId CodeGraph::Weight(Shape shape, const std::vector<float>& scales, int64_t bits) {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  std::vector<int8_t> codes(static_cast<size_t>(count));
  const uint32_t most = (1u << (bits - 1)) - 1;
  for (int8_t& code : codes) code = static_cast<int8_t>(Next(seed_) % (2 * most + 1) - most);
  const bool each = scales.size() > 1;
  const ValueId scale = builder_.Constant(
      "", each ? Tensor::From<float>({shape[0]}, scales) : Tensor::Scalar(scales[0]));
  return builder_.Op("DequantizeLinear",
                     {builder_.Constant("", Tensor::From<int8_t>(shape, codes)), scale},
                     {{"axis", int64_t{0}}});
}

ValueId CodeGraph::Bias(int64_t count, float input_scale, const std::vector<float>& scales) {
  std::vector<int32_t> codes(static_cast<size_t>(count));
  for (int32_t& code : codes) code = static_cast<int32_t>(Next(seed_) % 4001) - 2000;
  std::vector<float> steps(static_cast<size_t>(count));
  for (size_t i = 0; i < steps.size(); ++i)
    steps[i] = input_scale * scales[scales.size() > 1 ? i : 0];
  return builder_.Op("DequantizeLinear",
                     {builder_.Constant("", Tensor::From<int32_t>({count}, codes)),
                      builder_.Constant("", Tensor::From<float>({count}, steps))},
                     {{"axis", int64_t{0}}});
}

ValueId CodeGraph::Conv(ValueId x, float input_scale, const ConvShape& shape, bool per_channel) {
  std::vector<float> scales(static_cast<size_t>(per_channel ? shape.outputs : 1));
  for (size_t i = 0; i < scales.size(); ++i)
    scales[i] = 0.002f + 0.0003f * static_cast<float>(i % 7);
  // As large in sum as those of 8 bits.
  if (shape.bits == 4) {
    for (float& scale : scales) scale *= 16;
  }
  const int64_t pad = shape.kernel / 2 * shape.dilation;
  const ValueId weight = Weight(
      {shape.outputs, shape.inputs / shape.groups, shape.kernel, shape.kernel}, scales, shape.bits);
  return builder_.Op("Conv", {x, weight, Bias(shape.outputs, input_scale, scales)},
                     {{"pads", std::vector<int64_t>{pad, pad, pad, pad}},
                      {"strides", std::vector<int64_t>{shape.stride, shape.stride}},
                      {"dilations", std::vector<int64_t>{shape.dilation, shape.dilation}},
                      {"group", shape.groups}});
}

ValueId CodeGraph::Linear(ValueId x, float input_scale, int64_t inputs, int64_t outputs) {
  const std::vector<float> scales(static_cast<size_t>(outputs), 0.004f);
  const ValueId weight = Weight({outputs, inputs}, scales);
  return builder_.Op("Gemm", {x, weight, Bias(outputs, input_scale, scales)},
                     {{"transB", int64_t{1}}});
}

Graph CodeGraph::Finish(ValueId output) {
  builder_.Output(output, "output");
  absl::StatusOr<Graph> graph = builder_.Finish();
  EXPECT_TRUE(graph.ok()) << graph.status();
  return graph.ok() ? *std::move(graph) : Graph();
}

Numbers SomeNumbers(const Shape& shape, uint32_t seed) {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  Numbers result{shape, std::vector<double>(static_cast<size_t>(count))};
  for (double& value : result.values)
    value = static_cast<float>(Next(seed) % 4001) / 1000.0f - 2.0f;
  return result;
}

std::vector<Numbers> RunEngine(const Graph& graph, const std::vector<Numbers>& inputs,
                               const engine::compile::CompileOptions& options,
                               const std::string& isa, int threads) {
  const auto bytes = engine::compile::CompileModel(graph, options);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  if (!bytes.ok()) return {};
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> aligned(bytes->size() / 64 + 1);
  std::memcpy(aligned.data(), bytes->data(), bytes->size());
  std::shared_ptr<const engine::Model> model;
  engine::Status status =
      engine::Model::FromBytes(std::as_bytes(std::span(aligned)).first(bytes->size()),
                               {.verify_weights = true, .isa = isa}, model);
  EXPECT_TRUE(status.ok()) << status.message();
  if (!status.ok()) return {};
  std::unique_ptr<engine::Session> session;
  status = engine::Session::Create(model, {.threads = threads}, session);
  EXPECT_TRUE(status.ok()) << status.message();
  if (!status.ok()) return {};
  for (int i = 0; i < session->input_count(); ++i) {
    void* data = session->input(i).data;
    const auto& values = inputs[i].values;
    if (session->input(i).type == engine::file::Type::kInt64) {
      std::copy(values.begin(), values.end(), static_cast<int64_t*>(data));
    } else {
      std::copy(values.begin(), values.end(), static_cast<float*>(data));
    }
  }
  session->Run();
  std::vector<Numbers> results;
  for (int i = 0; i < session->output_count(); ++i) {
    const engine::Port& port = session->output(i);
    const auto* data = static_cast<const float*>(port.data);
    results.push_back({Shape(port.dims.begin(), port.dims.end()), {data, data + port.bytes / 4}});
  }
  return results;
}

double Distance(const Numbers& a, const Numbers& b, double unit) {
  if (a.shape != b.shape || a.values.size() != b.values.size()) return INFINITY;
  double most = 0;
  for (size_t i = 0; i < a.values.size(); ++i) {
    most = std::max(most, std::fabs(a.values[i] - b.values[i]) / unit);
  }
  return most;
}

}  // namespace ds::testing
