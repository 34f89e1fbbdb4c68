#include "base/tensor/tensor.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "base/status.h"
#include "base/tensor/dtype.h"
#include "base/tensor/float16.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ds {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr DType kAllTypes[] = {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16,
                               DType::kInt8,    DType::kUInt8,   DType::kInt16,   DType::kUInt16,
                               DType::kInt32,   DType::kUInt32,  DType::kInt64,   DType::kUInt64,
                               DType::kBool,    DType::kInt4,    DType::kUInt4,   DType::kInt2,
                               DType::kUInt2};

TEST(DTypeTest, NamesRoundTrip) {
  for (DType dtype : kAllTypes) {
    const auto again = DTypeFromName(Name(dtype));
    ASSERT_TRUE(again.ok()) << Name(dtype);
    EXPECT_EQ(*again, dtype);
  }
  EXPECT_THAT(std::string(DTypeFromName("float8").status().message()), HasSubstr("'float8'"));
}

TEST(DTypeTest, PackedTypesRoundUpToWholeBytes) {
  EXPECT_EQ(ByteSize(DType::kInt4, 0), 0);
  EXPECT_EQ(ByteSize(DType::kInt4, 1), 1);
  EXPECT_EQ(ByteSize(DType::kInt4, 2), 1);
  EXPECT_EQ(ByteSize(DType::kInt4, 3), 2);
  EXPECT_EQ(ByteSize(DType::kUInt2, 4), 1);
  EXPECT_EQ(ByteSize(DType::kUInt2, 5), 2);
  EXPECT_EQ(ByteSize(DType::kBFloat16, 7), 14);
  EXPECT_EQ(ByteSize(DType::kFloat64, 7), 56);
}

TEST(DTypeTest, FloatingPointTypesAreFour) {
  int floating = 0;
  for (DType dtype : kAllTypes) floating += IsFloatingPoint(dtype);
  EXPECT_EQ(floating, 4);
  EXPECT_TRUE(IsFloatingPoint(DType::kBFloat16));
  EXPECT_FALSE(IsFloatingPoint(DType::kInt4));
}

TEST(NumElementsTest, RefusesWhatCannotBeASize) {
  EXPECT_EQ(*NumElements({}), 1);
  EXPECT_EQ(*NumElements({0, 5}), 0);
  EXPECT_EQ(*NumElements({3, 5, 7}), 105);
  EXPECT_FALSE(NumElements({2, -1}).ok());
  constexpr int64_t kLarge = int64_t{1} << 31;
  EXPECT_FALSE(NumElements({kLarge, kLarge, 2}).ok());
  // Fits 64 bits as a count, but not as bytes of doubles.
  EXPECT_FALSE(NumElements({std::numeric_limits<int64_t>::max() / 4}).ok());
  EXPECT_TRUE(NumElements({std::numeric_limits<int64_t>::max() / 8}).ok());
}

TEST(TensorTest, StartsAsZerosOnAnAlignedAddress) {
  for (DType dtype : kAllTypes) {
    for (int64_t size : {0, 1, 7, 64, 1009}) {
      const Tensor tensor(dtype, {size});
      EXPECT_EQ(tensor.size_bytes(), ByteSize(dtype, size));
      EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data()) % 64, 0u);
      for (std::byte byte : tensor.bytes()) ASSERT_EQ(byte, std::byte{0});
    }
  }
}

TEST(TensorTest, DefaultIsEmpty) {
  const Tensor tensor;
  EXPECT_EQ(tensor.num_elements(), 0);
  EXPECT_EQ(tensor.span<float>().size(), 0u);
  EXPECT_EQ(tensor.Clone().num_elements(), 0);
}

TEST(TensorTest, HoldsTheValuesItWasMadeFrom) {
  const Tensor tensor = Tensor::From<int32_t>({2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(tensor.rank(), 2);
  EXPECT_EQ(tensor.dim(0), 2);
  EXPECT_EQ(tensor.dim(-1), 3);
  EXPECT_THAT(tensor.span<int32_t>(), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(Tensor::From<bool>({3}, {true, false, true}).span<bool>(),
              ElementsAre(true, false, true));
  const Tensor scalar = Tensor::Scalar<double>(2.5);
  EXPECT_EQ(scalar.rank(), 0);
  EXPECT_EQ(scalar.span<double>()[0], 2.5);
}

TEST(TensorTest, CopySharesAndCloneDoesNot) {
  Tensor tensor = Tensor::From<float>({2}, {1, 2});
  const Tensor shared = tensor;
  const Tensor cloned = tensor.Clone();
  tensor.mutable_span<float>()[0] = 9;
  EXPECT_THAT(shared.span<float>(), ElementsAre(9, 2));
  EXPECT_THAT(cloned.span<float>(), ElementsAre(1, 2));
}

TEST(TensorTest, ReshapeSharesTheBytesAndKeepsTheCount) {
  const Tensor tensor = Tensor::From<float>({2, 3}, {1, 2, 3, 4, 5, 6});
  const auto flat = tensor.Reshape({6});
  ASSERT_TRUE(flat.ok());
  EXPECT_EQ(flat->data(), tensor.data());
  EXPECT_EQ(flat->shape(), Shape({6}));
  EXPECT_THAT(std::string(tensor.Reshape({4}).status().message()), HasSubstr("[2, 3] to [4]"));
  EXPECT_FALSE(tensor.Reshape({-6}).ok());
}

TEST(TensorTest, WrapKeepsItsOwnerAlive) {
  auto owner = std::make_shared<std::vector<float>>(std::vector<float>{1, 2, 3});
  const std::weak_ptr<std::vector<float>> watch = owner;
  {
    Tensor tensor =
        Tensor::Wrap(DType::kFloat32, {3}, reinterpret_cast<std::byte*>(owner->data()), owner);
    owner.reset();
    EXPECT_FALSE(watch.expired());
    EXPECT_THAT(tensor.span<float>(), ElementsAre(1, 2, 3));
  }
  EXPECT_TRUE(watch.expired());
}

template <typename T>
class ToFloat32Test : public ::testing::Test {};
using NumberTypes = ::testing::Types<float, double, int8_t, uint8_t, int16_t, uint16_t, int32_t,
                                     uint32_t, int64_t, uint64_t>;
TYPED_TEST_SUITE(ToFloat32Test, NumberTypes);

TYPED_TEST(ToFloat32Test, KeepsSmallNumbers) {
  const auto result =
      Tensor::From<TypeParam>({3}, {TypeParam{0}, TypeParam{1}, TypeParam{100}}).ToFloat32();
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->dtype(), DType::kFloat32);
  EXPECT_THAT(result->template span<float>(), ElementsAre(0.0f, 1.0f, 100.0f));
}

TEST(TensorTest, HalvesConvertToFloat) {
  Tensor half(DType::kFloat16, {2}), brain(DType::kBFloat16, {2});
  *reinterpret_cast<Float16*>(half.mutable_data()) = Float16(1.5f);
  *reinterpret_cast<BFloat16*>(brain.mutable_data()) = BFloat16(-2.0f);
  EXPECT_THAT(half.ToFloat32()->span<float>(), ElementsAre(1.5f, 0.0f));
  EXPECT_THAT(brain.ToFloat32()->span<float>(), ElementsAre(-2.0f, 0.0f));
  EXPECT_EQ(Tensor(DType::kInt4, {2}).ToFloat32().status().code(),
            absl::StatusCode::kUnimplemented);
}

TEST(TensorTest, CreateRefusesWhatTheConstructorWouldDieOf) {
  EXPECT_EQ(Tensor::Create(DType::kFloat32, {-2}).status().code(),
            absl::StatusCode::kInvalidArgument);
  // More than any address space holds.
  EXPECT_EQ(Tensor::Create(DType::kFloat64, {int64_t{1} << 59}).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(TensorDeathTest, WrongUseStopsWithAReason) {
  const Tensor tensor(DType::kFloat32, {2});
  EXPECT_DEATH(tensor.span<int32_t>(), "holds float32, not int32");
  EXPECT_DEATH(Tensor(DType::kFloat32, {-1}), "negative extent");
  EXPECT_DEATH(Tensor::From<float>({3}, {1, 2}), "2 values do not fill shape");
}

TEST(StatusTest, MacrosPassErrorsUpAndValuesThrough) {
  const auto half = [](int n) -> absl::StatusOr<int> {
    if (n % 2 != 0) return absl::InvalidArgumentError("odd");
    return n / 2;
  };
  const auto quarter = [&half](int n) -> absl::StatusOr<int> {
    DS_ASSIGN_OR_RETURN(const int first, half(n));
    DS_RETURN_IF_ERROR(half(first).status());
    return half(first);
  };
  EXPECT_EQ(*quarter(12), 3);
  EXPECT_EQ(quarter(6).status(), absl::InvalidArgumentError("odd"));
  EXPECT_EQ(Annotate(quarter(6).status(), "while halving"),
            absl::InvalidArgumentError("while halving: odd"));
  EXPECT_TRUE(Annotate(absl::OkStatus(), "x").ok());
}

}  // namespace
}  // namespace ds
