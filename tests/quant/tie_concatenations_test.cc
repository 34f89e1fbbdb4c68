#include "quant/tie_concatenations.h"

#include "graph/builder.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

QuantParams Codes(float scale, int bits = 8) {
  return {.type = {.bits = bits, .is_signed = false}, .scales = {scale}, .zero_points = {3}};
}

// Four parts of a concatenation: near to it in scale, too fine for it, read by another node too,
// and of fewer bits.
TEST(TieConcatenations, PartsThatLoseAtMostABitHaveTheWholesCodes) {
  Builder b("parts", 1);
  const ValueId x = b.Input("x", DType::kFloat32, {kDynamicDim, 3, 5, 5});
  const auto part = [&](const char* name) { return b.Relu(b.Conv(x, name, {.channels = 2})); };
  const ValueId near = part("near"), fine = part("fine"), read = part("read"), few = part("few");
  const ValueId whole = b.Concat({near, fine, read, few}, 1);
  b.Output(b.Conv(whole, "next", {.channels = 2}), "y");
  b.Output(b.Conv(read, "other", {.channels = 2}), "z");
  const Graph graph = b.Finish().value();
  const auto name = [&graph](ValueId id) { return graph.value(id).name; };
  QuantPlan plan;
  plan.activations = {{name(near), Codes(0.05f)},
                      {name(fine), Codes(0.04f)},
                      {name(read), Codes(0.09f)},
                      {name(few), Codes(0.08f, 4)},
                      {name(whole), Codes(0.1f)}};
  const auto before = plan.activations;
  TieConcatenations(graph, SelectForQuantization(graph), plan);
  EXPECT_EQ(plan.activations.at(name(near)), before.at(name(whole)));
  for (const ValueId kept : {fine, read, few, whole}) {
    EXPECT_EQ(plan.activations.at(name(kept)), before.at(name(kept))) << name(kept);
  }
}

}  // namespace
}  // namespace ds
