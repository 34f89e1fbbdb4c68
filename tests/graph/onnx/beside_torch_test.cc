// LibTorch brings a protobuf of its own, of another version, and exports its symbols. Both must
// work in one process, in either order; run with LD_BIND_NOW too, when every symbol is resolved at
// start.
#include <ATen/ATen.h>

#include <string>

#include "graph/onnx/onnx.h"
#include "graph/zoo/zoo.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

void RoundTrip() {
  const absl::StatusOr<Graph> graph = BuildModel("resnet8", {});
  ASSERT_TRUE(graph.ok()) << graph.status();
  const absl::StatusOr<std::string> bytes = ExportOnnxToBytes(*graph);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  const absl::StatusOr<Graph> after = ImportOnnxFromBytes(*bytes, "memory");
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(after->ParameterCount(), graph->ParameterCount());
  EXPECT_FALSE(ImportOnnxFromBytes(bytes->substr(0, bytes->size() / 2), "half").ok());
}

void Convolve() {
  const at::Tensor x = at::ones({2, 3, 8, 8});
  const at::Tensor w = at::ones({4, 3, 3, 3});
  const at::Tensor y = at::conv2d(x, w, {}, 1, 1);
  EXPECT_EQ(y.sum().item<float>(), 2 * 4 * 3 * (36 * 9 + 24 * 6 + 4 * 4));
}

TEST(BesideTorchTest, OnnxAndLibTorchWorkInOneProcess) {
  RoundTrip();
  Convolve();
  RoundTrip();
  Convolve();
}

}  // namespace
}  // namespace ds
