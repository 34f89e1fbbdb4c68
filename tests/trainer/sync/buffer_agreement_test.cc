#include "trainer/sync/buffer_agreement.h"

#include <cstdint>
#include <memory>

#include "gtest/gtest.h"
#include "tests/trainer/sync/sync_testing.h"

namespace ds {
namespace {

std::vector<NamedTensor> OfRank(int rank) {
  const double r = rank;
  return {{.name = "float", .tensor = at::tensor({1.0f + rank, 0.1f, 3.0f - rank})},
          {.name = "double", .tensor = at::tensor({0.1 + r, -r}, at::kDouble)},
          {.name = "count", .tensor = at::tensor({7 + rank}, at::kLong)},
          {.name = "nothing", .tensor = at::empty({0})}};
}

TEST(BufferAgreement, MeansOfEveryFloatAndRankZerosCounts) {
  for (const int world : {1, 2, 3, 5}) {
    RunRanks(world, [&](int rank, std::unique_ptr<Communicator> communicator) {
      const std::vector<NamedTensor> tensors = OfRank(rank);
      ASSERT_TRUE(AgreeOnTensors(tensors, *communicator).ok());
      const double mean_rank = (world - 1) / 2.0;
      const float* floats = tensors[0].tensor.data_ptr<float>();
      EXPECT_EQ(floats[0], static_cast<float>(1 + mean_rank));
      EXPECT_EQ(floats[1], 0.1f) << "what is the same everywhere stays, bit for bit";
      EXPECT_EQ(floats[2], static_cast<float>(3 - mean_rank));
      const double* doubles = tensors[1].tensor.data_ptr<double>();
      EXPECT_NEAR(doubles[0], 0.1 + mean_rank, 1e-15 * world);
      EXPECT_EQ(doubles[1], -mean_rank);
      EXPECT_EQ(tensors[2].tensor.item<int64_t>(), 7);
      // Once more changes nothing.
      const at::Tensor before = tensors[0].tensor.clone();
      ASSERT_TRUE(AgreeOnTensors(tensors, *communicator).ok());
      EXPECT_TRUE(at::equal(tensors[0].tensor, before));
    });
  }
}

TEST(BufferAgreement, BroadcastsRankZerosTensors) {
  RunRanks(3, [&](int rank, std::unique_ptr<Communicator> communicator) {
    const std::vector<NamedTensor> tensors = OfRank(rank), wanted = OfRank(0);
    ASSERT_TRUE(BroadcastTensors(tensors, *communicator).ok());
    for (size_t i = 0; i < tensors.size(); ++i)
      EXPECT_TRUE(at::equal(tensors[i].tensor, wanted[i].tensor)) << tensors[i].name;
  });
}

}  // namespace
}  // namespace ds
