// .npy, .npz and .safetensors, as NumPy and others write them, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/tensor/safetensors.h"
#include "data/arrays/array_files.h"
#include "data/arrays/zip.h"
#include "tests/data/array_testing.h"
#include "tests/data/data_testing.h"

namespace ds {
namespace {

using ::testing::HasSubstr;
using testing::Npy;
using testing::Zip;
using testing::ZipEntry;

absl::Span<const std::byte> Bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::string Error(const std::string& bytes) {
  const auto array = ParseNpy(Bytes(bytes), "x.npy");
  return array.ok() ? "" : std::string(array.status().message());
}

std::vector<float> Floats(const StoredArray& array) {
  std::vector<float> values(array.bytes.size() / sizeof(float));
  std::memcpy(values.data(), array.bytes.data(), array.bytes.size());
  return values;
}

const std::string kTwoByTwo = Npy("<f4", "(2, 2)", std::vector<float>{1, 2, 3, 4});

TEST(Npy, EveryVersionOrderOfKeysAndSpaceIsRead) {
  for (int version : {1, 2, 3}) {
    for (const char* header : {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }",
                               "{\"shape\":(2,2),\"fortran_order\":False,\"descr\":\"<f4\"}\n",
                               " { 'shape' : ( 2 , 2 , ) ,'descr':'<f4','fortran_order':False} "}) {
      const std::string file =
          testing::NpyWithHeader(header, std::vector<float>{1, 2, 3, 4}, version);
      const auto array = ParseNpy(Bytes(file), "x.npy");
      ASSERT_TRUE(array.ok()) << array.status();
      EXPECT_EQ(array->dtype, DType::kFloat32);
      EXPECT_EQ(array->shape, (Shape{2, 2}));
      EXPECT_EQ(Floats(*array), (std::vector<float>{1, 2, 3, 4}));
    }
  }
}

TEST(Npy, EveryTypeHasItsWidth) {
  const std::vector<std::pair<const char*, DType>> types = {
      {"<f4", DType::kFloat32}, {"<f8", DType::kFloat64}, {"<f2", DType::kFloat16},
      {"|i1", DType::kInt8},    {"|u1", DType::kUInt8},   {"<i2", DType::kInt16},
      {"<u2", DType::kUInt16},  {"<i4", DType::kInt32},   {"<u4", DType::kUInt32},
      {"<i8", DType::kInt64},   {"<u8", DType::kUInt64},  {"|b1", DType::kBool}};
  for (const auto& [descr, dtype] : types) {
    const std::vector<uint8_t> content(static_cast<size_t>(3 * ByteSize(dtype, 1)));
    const auto array = ParseNpy(Bytes(Npy(descr, "(3,)", content)), "x.npy");
    ASSERT_TRUE(array.ok()) << descr << array.status();
    EXPECT_EQ(array->dtype, dtype);
  }
}

TEST(Npy, WhatCannotBeReadSaysWhyAndHowToMendIt) {
  const std::vector<float> four = {1, 2, 3, 4};
  EXPECT_THAT(Error(Npy(">f4", "(4,)", four)), HasSubstr("element type '>f4' is not read"));
  EXPECT_THAT(Error(Npy("|O", "(4,)", four)), HasSubstr("astype"));
  EXPECT_THAT(Error(testing::NpyWithHeader(
                  "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2)}", four, 1)),
              HasSubstr("ascontiguousarray"));
  EXPECT_THAT(Error(Npy("<f4", "(5,)", four)), HasSubstr("does not fit the 16 bytes"));
  EXPECT_THAT(Error(Npy("<f4", "(3,)", four)), HasSubstr("does not fit the 16 bytes"));
  EXPECT_THAT(Error(Npy("<f4", "(4611686018427387904, 4)", four)), HasSubstr("does not fit"));
  EXPECT_THAT(Error("PK\x03\x04"), HasSubstr("does not begin with"));
  for (size_t cut = 0; cut < kTwoByTwo.size(); ++cut)
    EXPECT_NE(Error(kTwoByTwo.substr(0, cut)), "") << cut;
  for (const char* header :
       {"{}", "{'descr': '<f4', 'shape': (4,)}", "{'descr': '<f4', 'descr': '<f4'}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), 'more': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-4,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': [4]}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4,)} x"}) {
    EXPECT_THAT(Error(testing::NpyWithHeader(header, four, 1)), HasSubstr("the header is not"))
        << header;
  }
}

absl::StatusOr<std::vector<StoredArray>> Npz(const std::string& bytes, int64_t limit = 1 << 20) {
  return ParseNpz(Bytes(bytes), "x.npz", nullptr, limit);
}

TEST(Npz, StoredArraysAreSharedAndDeflatedOnesInflated) {
  const std::string b = Npy("<i8", "(3,)", std::vector<int64_t>{7, 8, 9});
  for (bool zip64 : {false, true}) {
    const std::string file =
        Zip({{"a.npy", kTwoByTwo, /*deflate=*/false}, {"in/b.npy", b, /*deflate=*/true}}, zip64);
    const auto arrays = Npz(file);
    ASSERT_TRUE(arrays.ok()) << arrays.status();
    ASSERT_EQ(arrays->size(), 2u);
    EXPECT_EQ((*arrays)[0].name, "a");
    EXPECT_EQ(Floats((*arrays)[0]), (std::vector<float>{1, 2, 3, 4}));
    EXPECT_TRUE(reinterpret_cast<const char*>((*arrays)[0].bytes.data()) > file.data() &&
                reinterpret_cast<const char*>((*arrays)[0].bytes.data()) <
                    file.data() + file.size());
    EXPECT_EQ((*arrays)[1].name, "in/b");
    int64_t last;
    std::memcpy(&last, (*arrays)[1].bytes.data() + 16, 8);
    EXPECT_EQ(last, 9);
  }
}

TEST(Npz, CompressedArraysHaveALimitAndAChecksum) {
  const std::string file = Zip({{"a.npy", kTwoByTwo, true}}, false);
  EXPECT_TRUE(Npz(file, static_cast<int64_t>(kTwoByTwo.size())).ok());
  const auto beyond = Npz(file, static_cast<int64_t>(kTwoByTwo.size()) - 1);
  EXPECT_EQ(beyond.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(beyond.status().message()), HasSubstr("numpy.savez, not"));
  // Of all arrays together.
  const std::string two = Zip({{"a.npy", kTwoByTwo, true}, {"b.npy", kTwoByTwo, true}}, false);
  const auto both = 2 * static_cast<int64_t>(kTwoByTwo.size());
  EXPECT_TRUE(Npz(two, both).ok());
  EXPECT_EQ(Npz(two, both - 1).status().code(), absl::StatusCode::kResourceExhausted);
  std::string wrong = file;
  wrong[wrong.find("PK\x01\x02") + 16] ^= 1;  // the directory's checksum
  EXPECT_THAT(std::string(Npz(wrong).status().message()), HasSubstr("checksum"));
}

TEST(Npz, DamagedDirectoriesAreRefusedWhereverTheyAreCut) {
  const std::string file = Zip({{"a.npy", kTwoByTwo, false}, {"b.npy", kTwoByTwo, true}}, false);
  for (size_t cut = 0; cut < file.size(); ++cut) EXPECT_FALSE(Npz(file.substr(0, cut)).ok()) << cut;
  EXPECT_THAT(
      std::string(Npz(Zip({{"a.npy", kTwoByTwo, false}, {"a.npy", kTwoByTwo, false}}, false))
                      .status()
                      .message()),
      HasSubstr("'a.npy' is there twice"));
  std::string fewer = file;
  fewer[fewer.rfind("PK\x05\x06") + 10] = 1;  // entries of the directory
  EXPECT_THAT(std::string(Npz(fewer).status().message()), HasSubstr("bytes behind"));
  EXPECT_THAT(std::string(Npz(Zip({{"a.txt", "text", false}}, false)).status().message()),
              HasSubstr("a.txt is no array"));
}

TEST(ArrayFolder, NamesComeFromFilesAndFromWithinAndMayNotClash) {
  const testing::TempFolder folder;
  folder.Write("ids.npy", Npy("<i8", "(1,)", std::vector<int64_t>{5}));
  folder.Write("more.npz", Zip({{"mask.npy", kTwoByTwo, false}}, false));
  folder.Write("notes.txt", "not an array");
  ASSERT_TRUE(WriteSafetensors(folder.path() + "/x.safetensors",
                               {{"pixels", Tensor::From<float>({1, 2}, {3, 4})}})
                  .ok());
  const auto arrays = ReadArrayFolder(folder.path());
  ASSERT_TRUE(arrays.ok()) << arrays.status();
  std::vector<std::string> names;
  for (const StoredArray& array : *arrays) names.push_back(array.name);
  EXPECT_THAT(names, ::testing::ElementsAre("ids", "mask", "pixels"));
  EXPECT_EQ(Floats((*arrays)[2]), (std::vector<float>{3, 4}));
  folder.Write("mask.npy", kTwoByTwo);
  const auto twice = ReadArrayFolder(folder.path());
  EXPECT_THAT(std::string(twice.status().message()), HasSubstr("array 'mask' is in"));
}

}  // namespace
}  // namespace ds
