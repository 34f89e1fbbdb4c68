// What the plan's check refuses, one fault at a time; the tables' hash is made right again each
// time, so that nothing else refuses first.
#include "deploy/engine/runtime/check/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "tests/deploy/engine/runtime/small_files.h"

namespace ds::engine {
namespace {

using file::FileWriter;
using file::OperatorKind;
using file::Place;
using file::Type;
using testing::FileBytes;

// A chain of element-wise operators: x -> a -> b -> c -> y, all of 128 codes.
struct Chain {
  FileWriter writer;
  uint32_t x, a, b, c, y;

  Chain() {
    const auto add = [&](const char* name, Place place, uint64_t offset) {
      return writer.AddTensor(
          {.name = name, .type = Type::kUint8, .dims = {2, 64}, .place = place, .offset = offset});
    };
    x = add("x", Place::kInput, 0);
    a = add("a", Place::kArena, 0);
    b = add("b", Place::kArena, 128);
    c = add("c", Place::kArena, 0);
    y = add("y", Place::kOutput, 0);
    writer.SetInterface({x}, {y});
    writer.SetArena({256, 256, 384});
  }
  void Lookup(uint32_t from, uint32_t to) {
    const std::vector<std::byte> table(256);
    writer.AddOperator({.kind = OperatorKind::kLookup8,
                        .name = "lookup",
                        .inputs = {from},
                        .outputs = {to},
                        .constants = {writer.AddConstant(table)}});
  }
  void Add(uint32_t left, uint32_t right, uint32_t to) {
    writer.AddOperator({.kind = OperatorKind::kAdd8,
                        .name = "add",
                        .inputs = {left, right},
                        .outputs = {to},
                        .parameters = file::BytesOf(file::Add8Parameters{})});
  }
  std::string Message() const {
    FileBytes file(writer.Bytes());
    FileView view;
    const Status opened = FileView::Open(file.bytes(), view);
    EXPECT_TRUE(opened.ok()) << opened.message();
    return CheckPlan(view).message();
  }
};

using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(CheckPlan, PlacesAreUsedAgainOnceTheirTensorIsDead) {
  Chain chain;
  chain.Lookup(chain.x, chain.a);
  chain.Lookup(chain.a, chain.b);
  chain.Lookup(chain.b, chain.c);  // where a was
  chain.Lookup(chain.c, chain.y);
  EXPECT_THAT(chain.Message(), IsEmpty());
}

TEST(CheckPlan, ATensorThatIsStillReadIsNotWrittenOver) {
  Chain chain;
  chain.Lookup(chain.x, chain.a);
  chain.Lookup(chain.a, chain.b);
  chain.Lookup(chain.b, chain.c);
  chain.Add(chain.c, chain.a, chain.y);
  EXPECT_THAT(chain.Message(), HasSubstr("operator 2 ('lookup') writes tensor 3 over one"));
}

TEST(CheckPlan, PartOfATensorIsEnough) {
  for (const uint64_t offset : {64u, 0u, 192u}) {
    Chain chain;
    chain.writer.tensor(chain.b).offset = offset;
    chain.writer.SetArena({offset + 128, 0, 0});
    chain.Lookup(chain.x, chain.a);
    chain.Lookup(chain.x, chain.b);
    chain.Add(chain.a, chain.b, chain.y);
    EXPECT_THAT(chain.Message(), offset == 192 ? ::testing::Matcher<std::string>(IsEmpty())
                                               : HasSubstr("over one that is still needed"))
        << offset;
  }
}

TEST(CheckPlan, AnElementwiseOperatorMayWriteOverItsDyingInput) {
  Chain chain;
  chain.Lookup(chain.x, chain.a);
  chain.Lookup(chain.a, chain.c);  // the same place
  chain.Lookup(chain.c, chain.y);
  EXPECT_THAT(chain.Message(), IsEmpty());
}

TEST(CheckPlan, ButNotWhereTheInputIsReadAgain) {
  Chain chain;
  chain.Lookup(chain.x, chain.a);
  chain.Lookup(chain.a, chain.c);
  chain.Add(chain.c, chain.a, chain.y);
  EXPECT_THAT(chain.Message(), HasSubstr("over one that is still needed"));
}

TEST(CheckPlan, NorShiftedByARow) {
  Chain chain;
  chain.writer.tensor(chain.c).offset = 64;
  chain.Lookup(chain.x, chain.a);
  chain.Lookup(chain.a, chain.c);
  chain.Lookup(chain.c, chain.y);
  EXPECT_THAT(chain.Message(), HasSubstr("over one that is still needed"));
}

TEST(CheckPlan, NorWhereAnOperatorReadsItsInputMoreThanOnce) {
  Chain chain;
  chain.Lookup(chain.x, chain.a);
  chain.writer.AddOperator({.kind = OperatorKind::kMove,
                            .name = "turn",
                            .inputs = {chain.a},
                            .outputs = {chain.c},
                            .parameters = file::BytesOf(file::MoveParameters{})});
  chain.Lookup(chain.c, chain.y);
  EXPECT_THAT(chain.Message(), HasSubstr("over one that is still needed"));
}

TEST(CheckPlan, WhatNoneWroteIsNotRead) {
  Chain chain;
  chain.Lookup(chain.a, chain.b);
  chain.Lookup(chain.x, chain.a);
  chain.Lookup(chain.b, chain.y);
  EXPECT_THAT(chain.Message(), HasSubstr("operator 0 ('lookup') reads tensor 1, which none"));
}

TEST(CheckPlan, InputsAreNotWritten) {
  Chain chain;
  chain.Lookup(chain.x, chain.a);
  chain.Lookup(chain.a, chain.x);
  chain.Lookup(chain.a, chain.y);
  EXPECT_THAT(chain.Message(), HasSubstr("writes into an input or a constant"));
}

TEST(CheckPlan, EveryOutputIsWritten) {
  Chain chain;
  chain.Lookup(chain.x, chain.a);
  EXPECT_THAT(chain.Message(), HasSubstr("no operator writes output 0"));
}

TEST(CheckPlan, AnArenaThatNoTensorNeedsIsRefused) {
  Chain chain;
  chain.writer.SetArena({1 << 20, 0, 0});
  chain.Lookup(chain.x, chain.a);
  chain.Lookup(chain.a, chain.y);
  EXPECT_THAT(chain.Message(), HasSubstr("the arena has 1048576 bytes"));
}

// Two slices of a wider tensor: written by two operators, read as a whole.
TEST(CheckPlan, ASliceKeepsItsWholeTensorAlive) {
  const auto make = [](uint64_t second_slice, uint64_t extra) {
    Chain chain;
    FileWriter& writer = chain.writer;
    const uint32_t wide =
        writer.AddTensor({.name = "wide", .type = Type::kUint8, .dims = {2, 128}, .offset = 256});
    const auto slice = [&](uint64_t offset) {
      return writer.AddTensor({.name = "slice",
                               .type = Type::kUint8,
                               .dims = {2, 64},
                               .offset = 256 + offset,
                               .view_of = wide,
                               .row_bytes = 128});
    };
    const uint32_t left = slice(0), right = slice(second_slice);
    const uint32_t other =
        writer.AddTensor({.name = "other", .type = Type::kUint8, .dims = {2, 64}, .offset = extra});
    const uint32_t sum =
        writer.AddTensor({.name = "sum", .type = Type::kUint8, .dims = {2, 128}, .offset = 640});
    writer.SetArena({896, 0, 0});
    chain.Lookup(chain.x, left);
    chain.Lookup(chain.x, other);
    chain.Lookup(left, right);
    chain.Lookup(wide, sum);
    chain.Add(other, other, chain.y);
    return chain.Message();
  };
  EXPECT_THAT(make(64, 0), IsEmpty());
  EXPECT_THAT(make(64, 384), HasSubstr("over one that is still needed"));
  EXPECT_THAT(make(32, 0), HasSubstr("writes over what it reads"));
}

}  // namespace
}  // namespace ds::engine
