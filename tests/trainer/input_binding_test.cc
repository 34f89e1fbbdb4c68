// Which array feeds which input, what is refused before training, and what a batch becomes.
#include "trainer/input_binding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "graph/builder.h"
#include "graph/graph.h"
#include "trainer/batch_tensors.h"

namespace ds {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Input {
  std::string name;
  DType dtype;
  Shape shape;
};

Graph Model(const std::vector<Input>& inputs) {
  Graph graph;
  for (const Input& input : inputs)
    graph.MarkOutput(graph.AddInput(input.name, input.dtype, input.shape));
  return graph;
}

Graph TextModel() {
  return Model({{"input_ids", DType::kInt64, {kDynamicDim, kDynamicDim}},
                {"attention_mask", DType::kInt32, {kDynamicDim, kDynamicDim}}});
}

DatasetInfo Tensors(std::vector<ArrayInfo> inputs) {
  DatasetInfo info;
  info.kind = SampleKind::kTensors;
  info.inputs = std::move(inputs);
  return info;
}

std::string Error(const Graph& graph, const DatasetInfo& info) {
  return std::string(CheckInputs(graph, info, "m").message());
}

TEST(InputBinding, ArraysFindTheirInputsByNameInTheModelsOrder) {
  const auto order = BindInputs(TextModel(), {"attention_mask", "input_ids"});
  ASSERT_TRUE(order.ok()) << order.status();
  EXPECT_THAT(*order, ElementsAre(1, 0));
  const Graph one = Model({{"x", DType::kFloat32, {kDynamicDim}}});
  EXPECT_THAT(*BindInputs(one, {""}), ElementsAre(0));
  EXPECT_FALSE(BindInputs(one, {"y"}).ok());
  EXPECT_FALSE(BindInputs(TextModel(), {""}).ok());
  EXPECT_FALSE(BindInputs(TextModel(), {"input_ids", "input_ids"}).ok());
}

TEST(InputBinding, WhatDoesNotFitIsSaidBeforeTraining) {
  const ArrayInfo ids{"input_ids", DType::kInt64, {8}}, mask{"attention_mask", DType::kInt64, {8}};
  EXPECT_EQ(Error(TextModel(), Tensors({mask, ids})), "");
  EXPECT_THAT(Error(TextModel(), Tensors({ids})),
              HasSubstr("takes 2 inputs: 'input_ids' (int64 [?, ?]), 'attention_mask' (int32"));
  EXPECT_THAT(Error(TextModel(), Tensors({ids, {"mask", DType::kInt64, {8}}})),
              HasSubstr("the data has 2: 'input_ids', 'mask'"));
  EXPECT_THAT(
      Error(TextModel(), Tensors({ids, {"attention_mask", DType::kFloat32, {8}}})),
      HasSubstr("takes input 'attention_mask' of int32 [?, ?], the data has float32 [?, 8]; "
                "save the array as int32"));
  EXPECT_THAT(Error(TextModel(), Tensors({ids, {"attention_mask", DType::kInt64, {8, 1}}})),
              HasSubstr("the data has int64 [?, 8, 1]"));
  const Graph fixed = Model({{"x", DType::kFloat32, {kDynamicDim, 3, 5}}});
  EXPECT_EQ(Error(fixed, Tensors({{"x", DType::kFloat64, {3, 5}}})), "");
  EXPECT_THAT(Error(fixed, Tensors({{"x", DType::kFloat32, {5, 3}}})), HasSubstr("[?, 3, 5]"));
  DatasetInfo images;
  images.channels = 3;
  images.height = images.width = 4;
  EXPECT_THAT(Error(TextModel(), images), HasSubstr("data.type=tensors takes an array for each"));
}

// A state [layers, N, width] and a scalar have no axis for samples in front: an array has one more.
TEST(InputBinding, InputsWithoutAnAxisForSamplesAreWhole) {
  const Graph model = Model({{"x", DType::kFloat32, {kDynamicDim, 2}},
                             {"state", DType::kFloat32, {2, kDynamicDim, 1}},
                             {"rate", DType::kInt64, {}}});
  const DatasetInfo data = Tensors({{"x", DType::kFloat32, {2}},
                                    {"state", DType::kFloat32, {2, 1, 1}},
                                    {"rate", DType::kInt64, {}}});
  EXPECT_EQ(Error(model, data), "");
  EXPECT_TRUE(RunsSingly(model, data));
  EXPECT_FALSE(RunsSingly(TextModel(), Tensors({{"input_ids", DType::kInt64, {8}}})));
  EXPECT_TRUE(RunsSingly(Model({{"x", DType::kFloat32, {1, 2}}}), Tensors({})));
  Batch batch;
  batch.inputs = {{"x", Tensor::From<float>({1, 2}, {1, 2})},
                  {"state", Tensor::From<float>({1, 2, 1, 1}, {3, 4})},
                  {"rate", Tensor::From<int64_t>({1}, {5})}};
  const auto inputs = InputsToTorch(batch, model);
  ASSERT_TRUE(inputs.ok()) << inputs.status();
  EXPECT_TRUE((*inputs)[0].equal(at::tensor({1.0f, 2.0f}).reshape({1, 2})));
  EXPECT_TRUE((*inputs)[1].equal(at::tensor({3.0f, 4.0f}).reshape({2, 1, 1})));
  EXPECT_TRUE((*inputs)[2].equal(at::scalar_tensor(5, at::kLong)));
  batch.inputs[1].values = Tensor::From<float>({2, 2, 1, 1}, {3, 4, 5, 6});
  EXPECT_THAT(InputsToTorch(batch, model).status().message(), HasSubstr("data.batch_size"));
}

TEST(InputBinding, NumbersTakeTheModelsTypeWhereItHoldsThem) {
  Batch batch;
  batch.inputs = {{"attention_mask", Tensor::From<int64_t>({1, 2}, {1, 0})},
                  {"input_ids", Tensor::From<uint8_t>({1, 2}, {7, 255})}};
  const auto inputs = InputsToTorch(batch, TextModel());
  ASSERT_TRUE(inputs.ok()) << inputs.status();
  EXPECT_TRUE((*inputs)[0].equal(at::tensor({7, 255}, at::kLong).reshape({1, 2})));
  EXPECT_TRUE((*inputs)[1].equal(at::tensor({1, 0}, at::kInt).reshape({1, 2})));
  batch.inputs[0].values = Tensor::From<int64_t>({1, 2}, {1, int64_t{1} << 40});
  EXPECT_EQ(InputsToTorch(batch, TextModel()).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_FALSE(TargetsToTorch(batch).ok());
  batch.targets = Tensor::From<float>({1, 2}, {0, 1});
  EXPECT_TRUE(TargetsToTorch(batch)->equal(at::tensor({0.0f, 1.0f}).reshape({1, 2})));
}

TEST(InputBinding, ImagesLieAsTheModelTakesThem) {
  std::vector<float> values(2 * 3 * 4 * 5);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  for (const bool channels_last : {false, true}) {
    Batch batch;
    batch.inputs = {{"", Tensor::From<float>({2, 3, 4, 5}, values)}};
    batch.channels_last = channels_last;
    at::Tensor nchw = at::tensor(values);
    nchw = channels_last ? nchw.reshape({2, 4, 5, 3}).permute({0, 3, 1, 2})
                         : nchw.reshape({2, 3, 4, 5});
    const Graph first = Model({{"x", DType::kFloat32, {kDynamicDim, 3, 4, 5}}});
    EXPECT_TRUE((*InputsToTorch(batch, first))[0].equal(nchw));
    const Graph last = Model({{"x", DType::kFloat16, {kDynamicDim, 4, 5, 3}}});
    EXPECT_TRUE((*InputsToTorch(batch, last))[0].equal(nchw.permute({0, 2, 3, 1}).to(at::kHalf)));
    DatasetInfo info;
    info.channels = 3;
    info.height = 4;
    info.width = 5;
    EXPECT_EQ(Error(first, info), "");
    EXPECT_EQ(Error(last, info), "");
    info.height = 5;
    EXPECT_THAT(Error(last, info), HasSubstr("choose data.image_size"));
  }
}

// A network whose shapes tell nothing: 3 x 3 pixels of 3 channels, or extents that are open.
Graph Pictures(const Shape& shape, bool channels_last) {
  Builder b("pictures");
  ValueId x = b.Input("x", DType::kFloat32, shape);
  if (channels_last) x = b.Op("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 3, 1, 2}}});
  b.Output(b.Op("GlobalAveragePool", {x}), "y");
  return b.Finish().value();
}

TEST(InputBinding, WhereShapesTellNothingTheModelsOperatorsDo) {
  std::vector<float> values(27);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  Batch batch;
  batch.inputs = {{"", Tensor::From<float>({1, 3, 3, 3}, values)}};
  batch.channels_last = false;
  const at::Tensor nchw = at::tensor(values).reshape({1, 3, 3, 3});
  for (const Shape& shape : {Shape{kDynamicDim, 3, 3, 3}, Shape(4, kDynamicDim)}) {
    EXPECT_TRUE((*InputsToTorch(batch, Pictures(shape, false)))[0].equal(nchw));
    EXPECT_TRUE(
        (*InputsToTorch(batch, Pictures(shape, true)))[0].equal(nchw.permute({0, 2, 3, 1})));
  }
}

// 32 rows, 24 columns, 3 channels fit a network of 32 channels that is 24 x 3 by their numbers.
TEST(InputBinding, ShapesThatFitInTheWrongOrderAreRefused) {
  DatasetInfo info;
  info.channels = 3;
  info.height = 32;
  info.width = 24;
  EXPECT_EQ(Error(Pictures({kDynamicDim, 3, 32, 24}, false), info), "");
  EXPECT_EQ(Error(Pictures({kDynamicDim, 32, 24, 3}, true), info), "");
  EXPECT_THAT(Error(Pictures({kDynamicDim, 32, 24, 3}, false), info),
              HasSubstr("'x' of shape [?, 32, 24, 3], the data has [?, 3, 32, 24]; choose"));
  EXPECT_THAT(Error(Pictures({kDynamicDim, 3, 32, 24}, true), info),
              HasSubstr("(channels last, as its first operators say), the data has [?, 3, 32, 24] "
                        "(channels first); choose"));
}

}  // namespace
}  // namespace ds
