// One file for several shapes: each computes what plain arithmetic does of the graph in that shape.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "deploy/engine/runtime/session.h"
#include "tests/deploy/engine/compile/small_graphs.h"

namespace ds::testing {
namespace {

using engine::compile::CompileModel;
using engine::compile::CompileOptions;
using engine::compile::CompileReport;
using ::testing::HasSubstr;

// Two inputs of one batch; strides, a sum, a concat, a mean: what depends on extents.
Graph Network(int64_t batch, int64_t side) {
  Builder builder("shapes");
  const ValueId x = builder.Input("x", DType::kFloat32, {batch, 3, side, side});
  const ValueId z = builder.Input("z", DType::kFloat32, {batch, 4});
  ValueId y = builder.Relu(builder.Conv(x, "a", {.channels = 8, .kernel = 3, .stride = 2}));
  y = builder.Add(y, builder.Op("Sigmoid", {builder.Conv(y, "b", {.channels = 8, .kernel = 1})}));
  y = builder.Concat({y, builder.Conv(y, "c", {.channels = 5, .kernel = 3})}, 1);
  y = builder.Concat({builder.Flatten(builder.GlobalAveragePool(y)), z}, 1);
  builder.Output(builder.Linear(y, "d", 6), "scores");
  absl::StatusOr<Graph> graph = builder.Finish();
  EXPECT_TRUE(graph.ok()) << graph.status();
  return *std::move(graph);
}

TEST(CompiledShapesTest, EachIsWithinRoundingsOfPlainArithmetic) {
  const std::vector<Graph> graphs = {Network(kDynamicDim, 16), Network(kDynamicDim, 9)};
  CompileReport report;
  const auto bytes = CompileModel(graphs, {.batches = {1, 3}}, &report);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  ASSERT_EQ(report.plans.size(), 4u);
  EXPECT_EQ(report.plans[3].shape, "x [3, 3, 9, 9], z [3, 4]");
  const std::unique_ptr<void, decltype(&std::free)> memory(
      std::aligned_alloc(64, (bytes->size() + 63) / 64 * 64), &std::free);
  std::memcpy(memory.get(), bytes->data(), bytes->size());
  std::shared_ptr<const engine::Model> model;
  ASSERT_TRUE(
      engine::Model::FromBytes({static_cast<std::byte*>(memory.get()), bytes->size()}, {}, model)
          .ok());
  std::unique_ptr<engine::Session> session;
  ASSERT_TRUE(engine::Session::Create(model, {}, session).ok());
  for (const int64_t side : {16, 9, 16}) {
    for (const int64_t batch : {3, 1, 3}) {
      const std::vector<Numbers> inputs = {SomeNumbers({batch, 3, side, side}, 5),
                                           SomeNumbers({batch, 4}, 6)};
      const auto n = static_cast<uint32_t>(batch), s = static_cast<uint32_t>(side);
      const std::vector<uint32_t> dims = {n, 3, s, s, n, 4};
      const engine::Status set = session->SetShape(dims);
      ASSERT_TRUE(set.ok()) << set.message();
      for (int i = 0; i < 2; ++i) {
        std::copy(inputs[i].values.begin(), inputs[i].values.end(),
                  static_cast<float*>(session->input(i).data));
      }
      session->Run();
      const auto wanted = Evaluate(Network(batch, side), inputs);
      const auto* out = static_cast<const float*>(session->output(0).data);
      const Numbers got{{batch, 6}, {out, out + batch * 6}};
      EXPECT_LE(Distance(got, wanted[0], 1), 1e-5);
    }
  }
  EXPECT_THAT(session->SetShape(std::vector<uint32_t>{2, 3, 9, 9, 2, 4}).message(),
              HasSubstr("it has x [1, 3, 16, 16], z [1, 4]; x [3, 3, 16, 16], z [3, 4]; x [1, "));
}

TEST(CompiledShapesTest, TheWeightsAreThereOnce) {
  CompileReport one, four;
  ASSERT_TRUE(CompileModel(Network(kDynamicDim, 16), {}, &one).ok());
  ASSERT_TRUE(CompileModel(std::vector<Graph>{Network(kDynamicDim, 16), Network(kDynamicDim, 9)},
                           {.batches = {1, 8}}, &four)
                  .ok());
  EXPECT_LE(four.weight_bytes, one.weight_bytes + 4096);
}

TEST(CompiledShapesTest, EqualOnesAndNoneAreRefused) {
  const std::vector<Graph> fixed = {Network(2, 16)};
  const auto twice = CompileModel(fixed, {.batches = {1, 4}});
  EXPECT_EQ(twice.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(twice.status().message()),
              HasSubstr("two of the file's shapes are x [2, 3, 16, 16], z [2, 4]"));
  EXPECT_EQ(CompileModel(fixed, {.batches = {}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CompileModel(std::vector<Graph>{}).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace ds::testing
