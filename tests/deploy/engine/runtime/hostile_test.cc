// Files that are wrong in one place, their hashes right: refused with a message that says where, or
// run without leaving a buffer (under the sanitizers; the fuzz target goes on from here).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "deploy/engine/runtime/session.h"
#include "tests/deploy/engine/runtime/every_kind.h"
#include "tests/deploy/engine/runtime/general_kinds.h"
#include "tests/deploy/engine/runtime/small_files.h"

namespace ds::engine {
namespace {

using file::SectionKind;
using testing::FileBytes;
using ::testing::HasSubstr;
using testing::SmallNetwork;

constexpr int64_t kMost = 1 << 20;

// The message of what refused the file; empty where it ran.
std::string Try(FileBytes& file, int64_t most_work = 1 << 24) {
  file.Seal();
  std::shared_ptr<const Model> model;
  if (Status status = Model::FromBytes(file.bytes(), {}, model); !status.ok())
    return status.message();
  std::unique_ptr<Session> session;
  if (Status status = Session::Create(model, {.most_bytes = kMost}, session); !status.ok())
    return status.message();
  if (session->work() < most_work) session->Run();
  return "";
}

class HostileTest : public ::testing::Test {
 protected:
  // The message for the small network once `spoil` has had it.
  template <typename Spoil>
  std::string With(Spoil spoil) {
    FileBytes file(whole_);
    spoil(file);
    return Try(file);
  }
  template <typename Spoil>
  std::string WithTensor(int i, Spoil spoil) {
    return With([&](FileBytes& f) { spoil(f.Records<file::Tensor>(SectionKind::kTensors)[i]); });
  }
  template <typename T, typename Spoil>
  std::string WithParameters(int i, Spoil spoil) {
    return With([&](FileBytes& f) {
      const auto& op = f.Records<file::Operator>(SectionKind::kOperators)[i];
      const auto bytes = f.Records<std::byte>(SectionKind::kParameters);
      spoil(*reinterpret_cast<T*>(bytes.data() + op.parameters));
    });
  }
  std::string WithOperator(int i, std::function<void(file::Operator&)> spoil) {
    return With(
        [&](FileBytes& f) { spoil(f.Records<file::Operator>(SectionKind::kOperators)[i]); });
  }
  const std::string whole_ = SmallNetwork().File();
};

TEST_F(HostileTest, TheFileItselfRuns) {
  EXPECT_EQ(With([](FileBytes&) {}), "");
}

TEST_F(HostileTest, Tensors) {
  EXPECT_THAT(WithTensor(1, [](auto& t) { t.dims[3] = 64; }), HasSubstr("tensor 1"));
  EXPECT_THAT(WithTensor(1, [](auto& t) { t.bytes = 1 << 30; }), HasSubstr("tensor 1"));
  EXPECT_THAT(WithTensor(1, [](auto& t) { t.offset = 767; }), HasSubstr("tensor 1"));
  EXPECT_THAT(WithTensor(1, [](auto& t) { t.offset = uint64_t(-64); }), HasSubstr("tensor 1"));
  EXPECT_THAT(WithTensor(1, [](auto& t) { t.view_of = 1; }), HasSubstr("tensor 1"));
  EXPECT_THAT(WithTensor(1, [](auto& t) { t.place = 4; }), HasSubstr("writes into"));
  EXPECT_THAT(WithTensor(1, [](auto& t) { t.rank = 7; }), HasSubstr("six dims"));
  EXPECT_THAT(WithTensor(1, [](auto& t) { t.dims[1] = 0; }), HasSubstr("dim 1"));
  EXPECT_THAT(WithTensor(1, [](auto& t) { t.type = 99; }), HasSubstr("element type"));
  EXPECT_THAT(WithTensor(2, [](auto& t) { t.offset = 64; }), HasSubstr("still needed"));
  // Of another type than the operator that writes it works on.
  EXPECT_THAT(WithTensor(1, [](auto& t) { t.type = 5; }), HasSubstr("another type"));
}

// Callers' tensors may have none; operators count on them.
TEST_F(HostileTest, TensorsWithoutElements) {
  const auto empty = [](file::Tensor& t) {
    t.dims[0] = 0;
    t.bytes = 0;
  };
  EXPECT_THAT(WithTensor(1, empty), HasSubstr("dim 0 is 0"));
  EXPECT_THAT(WithTensor(0, empty), HasSubstr("operator 0: an input has no elements"));
  EXPECT_THAT(WithTensor(0, [](auto& t) { t.dims[0] = 0; }), HasSubstr("which its dims are not"));
  EXPECT_THAT(With([&](FileBytes& f) {
                for (auto& t : f.Records<file::Tensor>(SectionKind::kTensors)) {
                  if (t.place == static_cast<uint8_t>(file::Place::kOutput)) empty(t);
                }
              }),
              HasSubstr("an output has no elements"));
}

TEST_F(HostileTest, OperatorsNameThemselves) {
  EXPECT_THAT(WithOperator(1, [](auto& op) { op.kind = 999; }), HasSubstr("'wide' is of kind 999"));
  EXPECT_THAT(WithOperator(1, [](auto& op) { op.kind = 0; }), HasSubstr("'wide' is of kind 0"));
  EXPECT_THAT(WithOperator(1, [](auto& op) { op.parameters_bytes = 80; }),
              HasSubstr("80 bytes of parameters"));
  EXPECT_THAT(WithOperator(1, [](auto& op) { op.parameters = 1 << 20; }),
              HasSubstr("leave their table"));
  EXPECT_THAT(WithOperator(2, [](auto& op) { op.parameters = 0; }),
              HasSubstr("operator 2: its parameters are another operator's"));
  EXPECT_THAT(WithOperator(1, [](auto& op) { op.input_count = 2; }),
              HasSubstr("operator 2: its references do not follow"));
  EXPECT_THAT(WithOperator(5, [](auto& op) { op.output_count = 9; }), HasSubstr("operator 5"));
  EXPECT_THAT(WithOperator(1, [](auto& op) { op.name_bytes = 1 << 30; }),
              HasSubstr("name or story"));
  // A depthwise convolution's kernel over weights of 3x3x3: other groups.
  EXPECT_THAT(WithOperator(1, [](auto& op) { op.kind = 4; }), HasSubstr("(depthwise8)"));
}

TEST_F(HostileTest, Windows) {
  using file::Conv8Parameters;
  const auto conv = [&](auto spoil) { return WithParameters<Conv8Parameters>(1, spoil); };
  EXPECT_THAT(conv([](auto& p) { p.window.stride_h = 0; }), HasSubstr("'wide'"));
  EXPECT_THAT(conv([](auto& p) { p.window.kernel_w = 0xffffffff; }), HasSubstr("'wide'"));
  EXPECT_THAT(conv([](auto& p) { p.window.kernel_w = 70; }), HasSubstr("not packed"));
  EXPECT_THAT(conv([](auto& p) { p.window.groups = 0; }), HasSubstr("'wide'"));
  EXPECT_THAT(conv([](auto& p) { p.window.groups = 2; }), HasSubstr("groups"));
  EXPECT_THAT(conv([](auto& p) { p.window.stride_w = 1000; }), HasSubstr("behind its image"));
  EXPECT_EQ(conv([](auto& p) { p.window.pad_top = 1 << 20; }), "");  // reads padding only
  EXPECT_EQ(conv([](auto& p) { p.window.dilation_h = 3; }), "");
  EXPECT_THAT(conv([](auto& p) { p.zero_point = 256; }), HasSubstr("no codes"));
  EXPECT_THAT(conv([](auto& p) { p.low = 200, p.high = 100; }), HasSubstr("no codes"));
  EXPECT_THAT(conv([](auto& p) { p.input_zero = -1; }), HasSubstr("no codes"));
  EXPECT_THAT(conv([](auto& p) { p.has_table = 1; }), HasSubstr("it takes 1, 1 and 4"));
  EXPECT_THAT(conv([](auto& p) { p.has_sum = 7; }), HasSubstr("flag"));
}

TEST_F(HostileTest, QuantisersAndPools) {
  EXPECT_THAT(WithParameters<file::QuantiseParameters>(0, [](auto& p) { p.planes = 4; }),
              HasSubstr("planes"));
  EXPECT_EQ(WithParameters<file::QuantiseParameters>(0, [](auto& p) { p.planes = 1; }), "");
  EXPECT_EQ(WithParameters<file::QuantiseParameters>(0, [](auto& p) { p.scale = NAN; }), "");
  EXPECT_EQ(WithParameters<file::Pool8Parameters>(3, [](auto& p) { p.scale_out = 0; }), "");
  EXPECT_THAT(WithParameters<file::Pool8Parameters>(3, [](auto& p) { p.pool.way = 2; }),
              HasSubstr("'pool'"));
  EXPECT_THAT(WithParameters<file::Pool8Parameters>(3, [](auto& p) { p.pool.window.groups = 4; }),
              HasSubstr("'pool'"));
}

TEST_F(HostileTest, Constants) {
  const auto constant = [&](auto spoil) {
    return With([&](FileBytes& f) { spoil(f.Records<file::Constant>(SectionKind::kConstants)); });
  };
  EXPECT_THAT(constant([](auto c) { c[0].offset = 0; }), HasSubstr("constant 0"));
  EXPECT_THAT(constant([](auto c) { c[0].bytes = uint64_t(-1); }), HasSubstr("constant 0"));
  EXPECT_THAT(constant([](auto c) { c[0].next = 0; }), HasSubstr("constant 0"));
  EXPECT_THAT(constant([](auto c) {
                for (auto& one : c) one.bytes = 16;
              }),
              HasSubstr("operator 'wide'"));
  EXPECT_THAT(constant([](auto c) {
                for (auto& one : c) one.kernels = 0;
              }),
              HasSubstr("no instruction set fits"));
}

// The message for the file with every kind once `spoil` has had one kind's parameters.
template <typename T>
std::string WithKind(file::OperatorKind kind, std::function<void(T&)> spoil) {
  FileBytes file(testing::EveryKindFile());
  for (const auto& op : file.Records<file::Operator>(SectionKind::kOperators)) {
    if (op.kind != static_cast<uint16_t>(kind)) continue;
    const auto bytes = file.Records<std::byte>(SectionKind::kParameters);
    spoil(*reinterpret_cast<T*>(bytes.data() + op.parameters));
  }
  return Try(file);
}
std::string WithChain(std::function<void(file::ConvChain8Parameters&)> spoil) {
  return WithKind(file::OperatorKind::kConvChain8, std::move(spoil));
}
std::string WithGates(std::function<void(file::SqueezeExcite8Parameters&)> spoil) {
  return WithKind(file::OperatorKind::kSqueezeExcite8, std::move(spoil));
}

TEST_F(HostileTest, Chains) {
  EXPECT_EQ(WithChain([](auto&) {}), "");
  EXPECT_THAT(WithChain([](auto& c) { c.stage_count = 1; }), HasSubstr("1 stages"));
  EXPECT_THAT(WithChain([](auto& c) { c.stage_count = 7; }), HasSubstr("7 stages"));
  EXPECT_THAT(WithChain([](auto& c) { c.stage_count = 2; }), HasSubstr("it takes 1, 1 and 7"));
  EXPECT_THAT(WithChain([](auto& c) { c.stages[1].kind = 5; }), HasSubstr("no convolution"));
  EXPECT_THAT(WithChain([](auto& c) { c.stages[1].out_h = 4; }), HasSubstr("larger than"));
  EXPECT_THAT(WithChain([](auto& c) { c.stages[0].out_w = 0; }), HasSubstr("out of range"));
  EXPECT_THAT(WithChain([](auto& c) { c.stages[0].out_channels = ~0u; }),
              HasSubstr("out of range"));
  EXPECT_THAT(WithChain([](auto& c) { c.stages[0].out_channels = 40; }), HasSubstr("not packed"));
  EXPECT_THAT(WithChain([](auto& c) { c.stages[2].out_h = 2; }), HasSubstr("other extents"));
  EXPECT_THAT(WithChain([](auto& c) { c.stages[1].conv.window.pad_top = 3; }),
              HasSubstr("larger than"));
  EXPECT_THAT(WithChain([](auto& c) { c.stages[1].conv.window.stride_h = 9; }),
              HasSubstr("behind its image"));
  EXPECT_THAT(WithChain([](auto& c) { c.stages[0].conv.has_sum = 1; }), HasSubstr("in front of"));
  EXPECT_THAT(WithChain([](auto& c) { c.stages[2].conv.sum.zero_a = 256; }), HasSubstr("no codes"));
  EXPECT_THAT(WithChain([](auto& c) { c.stages[2].conv.has_table = 2; }), HasSubstr("flag"));
}

TEST_F(HostileTest, SqueezeExcites) {
  EXPECT_EQ(WithGates([](auto&) {}), "");
  EXPECT_THAT(WithGates([](auto& p) { p.zero_in = 256; }), HasSubstr("no codes"));
  EXPECT_THAT(WithGates([](auto& p) { p.low = 9, p.high = 8; }), HasSubstr("no codes"));
  EXPECT_THAT(WithGates([](auto& p) { p.reduce.kind = 4; }), HasSubstr("product of kind 4"));
  EXPECT_THAT(WithGates([](auto& p) { p.expand.conv.has_sum = 1; }), HasSubstr("a residual"));
  EXPECT_THAT(WithGates([](auto& p) { p.expand.conv.has_table = 2; }), HasSubstr("flag"));
  EXPECT_THAT(WithGates([](auto& p) { p.reduce.conv.has_table = 0; }), HasSubstr("it takes 1, 4"));
  EXPECT_THAT(WithGates([](auto& p) { p.product.has_table = 0; }), HasSubstr("it takes 1, 4"));
  EXPECT_THAT(WithGates([](auto& p) { p.reduce.conv.window.kernel_w = 2; }), HasSubstr("window"));
  EXPECT_THAT(WithGates([](auto& p) { p.expand.conv.window.groups = 2; }), HasSubstr("window"));
  EXPECT_THAT(WithGates([](auto& p) { p.expand.conv.zero_point = -1; }), HasSubstr("no codes"));
  EXPECT_THAT(WithGates([](auto& p) { p.product.zero_b = 300; }), HasSubstr("no codes"));
}

// Its averages lie on the image that its gates are for: not the place that its result has.
TEST_F(HostileTest, OnlyTheResultOfASqueezeExciteLiesOnItsImage) {
  FileBytes file(testing::EveryKindFile());
  const auto references = file.Records<uint32_t>(SectionKind::kReferences);
  for (const auto& op : file.Records<file::Operator>(SectionKind::kOperators)) {
    if (op.kind != static_cast<uint16_t>(file::OperatorKind::kSqueezeExcite8)) continue;
    uint32_t* outputs = references.data() + op.references + 1;
    std::swap(outputs[0], outputs[1]);
  }
  EXPECT_THAT(Try(file), HasSubstr("still needed"));
}

// The message for a file of every kind once the first operator of a kind has other parameters.
template <typename T, typename Spoil>
std::string WithFirst(file::OperatorKind kind, Spoil spoil) {
  FileBytes file(testing::EveryKindFile());
  for (const auto& op : file.Records<file::Operator>(SectionKind::kOperators)) {
    if (op.kind != static_cast<uint16_t>(kind)) continue;
    spoil(*reinterpret_cast<T*>(file.Records<std::byte>(SectionKind::kParameters).data() +
                                op.parameters));
    return Try(file);
  }
  return "no such operator";
}

TEST(HostileBlocksTest, AreWholeStepsOfTheLayoutAndHaveTheirScales) {
  const auto with = [](auto spoil) {
    return WithFirst<file::Dense4Parameters>(file::OperatorKind::kDense4, spoil);
  };
  EXPECT_EQ(with([](auto& p) { p.block = 1 << 20; }), "");
  EXPECT_THAT(with([](auto& p) { p.block = 0; }), HasSubstr("no multiple of 8"));
  EXPECT_THAT(with([](auto& p) { p.block = 12; }), HasSubstr("no multiple of 8"));
  EXPECT_THAT(with([](auto& p) { p.block = 0xfffffff8; }), HasSubstr("no multiple of 8"));
  EXPECT_THAT(with([](auto& p) { p.input_zero = 256; }), HasSubstr("zero point"));
}

// Every word of the tables, in turn, under values that bounds are forgotten for, and again as an
// offset by one; what is left of the file stays as it is.
void SpoilEveryWord(const std::string& whole, int* refused, int* ran) {
  const uint64_t tables = FileBytes(whole).header().tables_bytes;
  for (uint64_t at = 8; at + 4 <= tables; at += 4) {
    uint32_t word = 0;
    std::memcpy(&word, whole.data() + at, 4);
    for (const uint32_t value : {0u, 1u, 2u, 63u, 255u, 65535u, 0x7fffffffu, 0x80000000u, ~0u,
                                 word + 1, word - 1, word + 64, word ^ 0x10000u}) {
      FileBytes file(whole);
      std::memcpy(file.bytes().data() + at, &value, 4);
      const uint64_t now = file.header().tables_bytes;
      if (now > file.bytes().size() || now < sizeof(file::Header)) continue;  // cannot be sealed
      ++*(Try(file).empty() ? ran : refused);
    }
  }
}

TEST_F(HostileTest, EveryWordOfTheTablesUnderEveryOddValue) {
  int refused = 0, ran = 0;
  SpoilEveryWord(whole_, &refused, &ran);
  EXPECT_GT(refused, 2000);
  EXPECT_GT(ran, 500);  // names, stories, scales, offsets that fit
}

TEST_F(HostileTest, AndOfAFileWithEveryKindOfOperator) {
  const std::string every = testing::EveryKindFile();
  FileBytes file(every);
  ASSERT_EQ(Try(file), "");
  int refused = 0, ran = 0;
  SpoilEveryWord(every, &refused, &ran);
  EXPECT_GT(refused, 5000);
  EXPECT_GT(ran, 1000);
}

TEST_F(HostileTest, AndOfAFileWithEveryGeneralKind) {
  const std::string general = testing::GeneralKindsFile();
  FileBytes file(general);
  ASSERT_EQ(Try(file), "");
  int refused = 0, ran = 0;
  SpoilEveryWord(general, &refused, &ran);
  EXPECT_GT(refused, 5000);
  EXPECT_GT(ran, 1000);
}

}  // namespace
}  // namespace ds::engine
