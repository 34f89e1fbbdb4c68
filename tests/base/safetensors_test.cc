#include "base/tensor/safetensors.h"

#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace ds {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr DType kStorable[] = {DType::kFloat64, DType::kFloat32, DType::kFloat16, DType::kBFloat16,
                               DType::kInt64,   DType::kInt32,   DType::kInt16,   DType::kInt8,
                               DType::kUInt64,  DType::kUInt32,  DType::kUInt16,  DType::kUInt8,
                               DType::kBool};

// One tensor of every type and of sizes 0, 1 and primes, filled with bits that are valid for bool
// too.
TensorMap Samples() {
  TensorMap tensors;
  for (DType dtype : kStorable) {
    for (int64_t size : {0, 1, 3, 17}) {
      Tensor tensor(dtype, {size, 1});
      for (int64_t i = 0; i < tensor.size_bytes(); ++i) tensor.mutable_data()[i] = std::byte(i % 2);
      tensors[absl::StrCat(std::string(Name(dtype)), "/", size)] = tensor;
    }
  }
  tensors["scalar"] = Tensor::Scalar<float>(1.5f);
  tensors["\u00fcmlaut \" \\ \n"] = Tensor::From<uint8_t>({2}, {1, 2});
  return tensors;
}

void ExpectSame(const TensorMap& got, const TensorMap& want) {
  ASSERT_EQ(got.size(), want.size());
  for (const auto& [name, tensor] : want) {
    const auto it = got.find(name);
    ASSERT_NE(it, got.end()) << name;
    EXPECT_EQ(it->second.dtype(), tensor.dtype()) << name;
    EXPECT_EQ(it->second.shape(), tensor.shape()) << name;
    EXPECT_TRUE(it->second.bytes() == tensor.bytes()) << name;
  }
}

std::string File(absl::string_view header, size_t data_bytes) {
  std::string file;
  for (size_t i = 0; i < 8; ++i) file.push_back(static_cast<char>(header.size() >> (8 * i)));
  return absl::StrCat(file, header, std::string(data_bytes, '\0'));
}

TEST(SafetensorsTest, RoundTripsThroughMemory) {
  const TensorMap tensors = Samples();
  const StringMap metadata = {{"format", "pt"}, {"step", "12"}};
  const auto bytes = SerializeSafetensors(tensors, metadata);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  StringMap read_metadata;
  const auto read = ParseSafetensors(*bytes, "memory", nullptr, &read_metadata);
  ASSERT_TRUE(read.ok()) << read.status();
  ExpectSame(*read, tensors);
  EXPECT_EQ(read_metadata, metadata);
}

TEST(SafetensorsTest, RoundTripsThroughAFileWhosePagesItShares) {
  const TempFolder folder;
  const std::string path = folder.File("m.safetensors");
  const TensorMap tensors = Samples();
  ASSERT_TRUE(WriteSafetensors(path, tensors).ok());
  const auto read = ReadSafetensors(path);
  // The mapping must outlive the file's name and the call that made it.
  std::filesystem::remove_all(folder.path());
  ASSERT_TRUE(read.ok()) << read.status();
  ExpectSame(*read, tensors);
}

TEST(SafetensorsTest, SameInputGivesTheSameBytes) {
  EXPECT_EQ(*SerializeSafetensors(Samples(), {{"b", "1"}, {"a", "2"}}),
            *SerializeSafetensors(Samples(), {{"a", "2"}, {"b", "1"}}));
}

TEST(SafetensorsTest, DataIsAlignedAndEveryTensorToItsElement) {
  const std::string bytes = *SerializeSafetensors(Samples());
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  EXPECT_EQ((8 + header_bytes) % 64, 0u);
  // An aligned owner shows the places as they are in a mapped file.
  auto owner = std::shared_ptr<char>(
      static_cast<char*>(std::aligned_alloc(64, (bytes.size() + 63) / 64 * 64)), std::free);
  std::memcpy(owner.get(), bytes.data(), bytes.size());
  const auto read = ParseSafetensors({owner.get(), bytes.size()}, "memory", owner);
  ASSERT_TRUE(read.ok());
  for (const auto& [name, tensor] : *read) {
    const auto* place = reinterpret_cast<const char*>(tensor.data());
    EXPECT_TRUE(place >= owner.get() && place <= owner.get() + bytes.size())
        << name << " was copied";
  }
}

TEST(SafetensorsTest, EmptyFileOfNothingRoundTrips) {
  const auto bytes = SerializeSafetensors({});
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ(bytes->size(), 64u);
  const auto read = ParseSafetensors(*bytes, "memory");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->empty());
}

TEST(SafetensorsTest, TensorsThatForeignFilesLeaveUnalignedAreCopied) {
  std::string file = File(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                          R"("b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})",
                          5);
  const float value = 2.5f;
  std::memcpy(file.data() + file.size() - 4, &value, 4);
  for (size_t shift = 0; shift < 4; ++shift) {
    const std::string moved = std::string(shift, ' ') + file;
    const auto read = ParseSafetensors(absl::string_view(moved).substr(shift), "memory");
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(read->at("b").data()) % 4, 0u);
    EXPECT_THAT(read->at("b").span<float>(), ElementsAre(2.5f));
  }
}

TEST(SafetensorsTest, RefusesToWriteWhatTheFormatLacks) {
  EXPECT_THAT(
      std::string(SerializeSafetensors({{"w", Tensor(DType::kInt4, {2})}}).status().message()),
      AllOf(HasSubstr("'w'"), HasSubstr("int4")));
  EXPECT_FALSE(SerializeSafetensors({{"__metadata__", Tensor()}}).ok());
  EXPECT_THAT(std::string(SerializeSafetensors({{"\xff", Tensor()}}).status().message()),
              HasSubstr("UTF-8"));
  EXPECT_FALSE(SerializeSafetensors({}, {{"k", "\xc3"}}).ok());
}

struct BadFile {
  const char* name;
  std::string bytes;
  const char* message;
};

std::string Entry(absl::string_view entry) { return absl::StrCat(R"({"w":)", entry, "}"); }

std::vector<BadFile> BadFiles() {
  const std::string good = Entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})");
  const auto two = [](absl::string_view a, absl::string_view b) {
    return absl::StrCat(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)", a,
                        R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)", b, "}}");
  };
  return {
      {"Empty", "", "shorter than 8 bytes"},
      {"Seven", "1234567", "shorter than 8 bytes"},
      {"HeaderPastEnd", File(good, 8).substr(0, 30), "header claims"},
      {"HeaderHuge", std::string(16, '\xff'), "header claims"},
      {"NotJson", File("{,}", 0), "not a JSON object"},
      {"NotObject", File("[1]", 0), "not a JSON object"},
      {"SpaceFirst", File(" {}", 0), "not a JSON object"},
      {"NoHeader", File("", 0), "not a JSON object"},
      {"TwoObjects", File("{}{}", 0), "not a JSON object"},
      {"BadUtf8", File("{\"\xff\":{}}", 0), "not a JSON object"},
      {"Deep", File("{\"a\":" + std::string(50'000, '[') + std::string(50'000, ']') + "}", 0),
       "not a JSON object"},
      {"EntryNotObject", File(Entry("3"), 0), "needs dtype"},
      {"NoOffsets", File(Entry(R"({"dtype":"F32","shape":[2]})"), 8), "needs dtype"},
      {"UnknownType", File(Entry(R"({"dtype":"F7","shape":[2],"data_offsets":[0,8]})"), 8),
       "unknown dtype \"F7\""},
      {"TypeNotText", File(Entry(R"({"dtype":7,"shape":[2],"data_offsets":[0,8]})"), 8),
       "unknown dtype 7"},
      {"ShapeNotList", File(Entry(R"({"dtype":"F32","shape":2,"data_offsets":[0,8]})"), 8),
       "shape is not a list"},
      {"NegativeExtent", File(Entry(R"({"dtype":"F32","shape":[-2],"data_offsets":[0,8]})"), 8),
       "not a natural number"},
      {"FractionExtent", File(Entry(R"({"dtype":"F32","shape":[2.0],"data_offsets":[0,8]})"), 8),
       "not a natural number"},
      {"ExtentPastSigned",
       File(Entry(R"({"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,8]})"), 8),
       "too large"},
      {"ShapeOverflows",
       File(Entry(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]})"), 0),
       "overflows"},
      {"OneOffset", File(Entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0]})"), 8),
       "not a pair"},
      {"NegativeOffset", File(Entry(R"({"dtype":"F32","shape":[2],"data_offsets":[-8,0]})"), 8),
       "not a pair"},
      {"OffsetsReversed", File(Entry(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})"), 8),
       "do not hold a float32 of shape [2]"},
      {"TooFewBytes", File(Entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})"), 4),
       "do not hold"},
      {"DataShort", File(good, 7), "take 8 bytes, the file has 7"},
      {"DataLong", File(good, 9), "take 8 bytes, the file has 9"},
      {"Overlap", File(two("[0,4]", "[2,6]"), 6), "'b' starts at 2, not at 4"},
      {"SamePlace", File(two("[0,4]", "[0,4]"), 4), "'b' starts at 0, not at 4"},
      {"Gap", File(two("[0,4]", "[5,9]"), 9), "'b' starts at 5, not at 4"},
      {"GapInFront", File(two("[1,5]", "[5,9]"), 9), "'a' starts at 1, not at 0"},
      {"NameTwice",
       File(R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
            R"("w":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
            2),
       "stands twice"},
      {"MetadataNotObject", File(R"({"__metadata__":[]})", 0), "__metadata__ is not an object"},
      {"MetadataNotText", File(R"({"__metadata__":{"step":1}})", 0), "not text"},
      {"BoolOfTwo",
       File(Entry(R"({"dtype":"BOOL","shape":[2],"data_offsets":[0,2]})"), 0) + std::string("\1\2"),
       "BOOL holds the byte 2"},
  };
}

class BadSafetensorsTest : public ::testing::TestWithParam<BadFile> {};

TEST_P(BadSafetensorsTest, IsRefusedNamingTheFileAndTheFault) {
  const auto read = ParseSafetensors(GetParam().bytes, "bad.safetensors");
  EXPECT_EQ(read.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(read.status().message()),
              AllOf(HasSubstr("bad.safetensors: "), HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(Files, BadSafetensorsTest, ::testing::ValuesIn(BadFiles()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(SafetensorsTest, EveryTruncationIsRefused) {
  const std::string bytes = *SerializeSafetensors(
      {{"a", Tensor(DType::kFloat32, {5})}, {"b", Tensor(DType::kInt8, {3})}});
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(ParseSafetensors(absl::string_view(bytes).substr(0, size), "f").ok()) << size;
  }
}

TEST(SafetensorsTest, MissingFileIsNotFound) {
  EXPECT_EQ(ReadSafetensors(::testing::TempDir() + "/no_such.safetensors").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace ds
