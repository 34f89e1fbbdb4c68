// Ten thousand files that differ from sound ones in a few places, the tables' hash made right: none
// crashes or hangs, and none takes more memory than twice the file and 64 MiB. Sound files made to
// cost as much as their size can are held to the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <random>

#include "deploy/engine/runtime/session.h"
#include "tests/deploy/engine/runtime/every_kind.h"
#include "tests/deploy/engine/runtime/heap_watch.h"
#include "tests/deploy/engine/runtime/small_files.h"

namespace ds::engine {
namespace {

using file::FileWriter;
using file::OperatorKind;
using file::Place;
using file::Type;
using testing::FileBytes;

constexpr int kFiles = 10000;
constexpr unsigned kMostSeconds = 60;  // for one file, sanitizers and a busy machine included
constexpr int64_t kAllowance = int64_t{64} << 20;
// Of activations: what a caller who does not know a file's author allows.
constexpr int64_t kActivations = int64_t{32} << 20;

// What opening and running takes at most, the file itself in memory included.
int64_t MostBytes(FileBytes& file, bool* ran) {
  const int64_t before = testing::HeapNow().bytes;
  testing::ForgetMost();
  alarm(kMostSeconds);  // a hang ends the test
  std::shared_ptr<const Model> model;
  std::unique_ptr<Session> session;
  bool ready = Model::FromBytes(file.bytes(), {}, model).ok() &&
               Session::Create(model, {.most_bytes = kActivations}, session).ok();
  for (int shape = 0; ready && shape < model->shape_count(); ++shape) {
    if (!session->SelectShape(shape).ok()) break;
    if (session->work() < 1 << 22) session->Run();
    *ran = true;
  }
  alarm(0);
  return testing::HeapNow().most_bytes - before + static_cast<int64_t>(file.bytes().size());
}

class Mutator {
 public:
  explicit Mutator(std::vector<std::string> files) : files_(std::move(files)) {}

  FileBytes Next() {
    FileBytes file(files_[random_() % files_.size()]);
    const auto bytes = file.bytes();
    const size_t tables = file.header().tables_bytes;
    for (uint32_t i = 0, changes = 1 + random_() % 4; i < changes; ++i) {
      // Mostly in the tables, past the magic and version that would refuse it at once.
      const size_t at =
          random_() % 8 != 0 ? 24 + random_() % (tables - 28) : random_() % (bytes.size() - 4);
      uint32_t word = 0;
      std::memcpy(&word, bytes.data() + at, 4);
      static constexpr uint32_t kOdd[] = {0, 1, 0x7f, 0xff, 0xffff, 0x7fffffff, 0x80000000, ~0u};
      switch (random_() % 4) {
        case 0:
          word ^= 1u << random_() % 32;
          break;
        case 1:
          word = kOdd[random_() % std::size(kOdd)];
          break;
        case 2:
          word += random_() % 2 == 0 ? 64 : uint32_t(-64);
          break;
        default:  // what another place has
          std::memcpy(&word, bytes.data() + random_() % (tables - 4) / 4 * 4, 4);
      }
      std::memcpy(bytes.data() + at / 4 * 4, &word, 4);
    }
    const uint64_t now = file.header().tables_bytes;
    if (now <= bytes.size() && now >= sizeof(file::Header)) file.Seal();
    return file;
  }

 private:
  std::vector<std::string> files_;
  std::mt19937 random_{20261129};
};

TEST(MutatedFilesTest, NeitherCrashNorHangNorTakeMemory) {
  const testing::SmallNetwork network;
  const std::vector<std::string> files = {network.File(), network.File({3, 1, 16}),
                                          testing::EveryKindFile()};
  for (const std::string& file : files) ASSERT_GT(file.size(), sizeof(file::Header));
  Mutator mutator(files);
  int sound = 0;
  int64_t most = 0;
  for (int i = 0; i < kFiles; ++i) {
    FileBytes file = mutator.Next();
    bool ran = false;
    const int64_t bytes = MostBytes(file, &ran);
    sound += ran;
    most = std::max(most, bytes);
    ASSERT_LE(bytes, 2 * static_cast<int64_t>(file.bytes().size()) + kAllowance) << "file " << i;
  }
  EXPECT_GT(sound, kFiles / 20);       // behind the checks, too
  EXPECT_LT(sound, kFiles * 19 / 20);  // and most is refused
  RecordProperty("most_bytes", std::to_string(most));
  RecordProperty("ran", sound);
  std::printf("%d files, %d of them ran, at most %lld bytes each\n", kFiles, sound,
              static_cast<long long>(most));
}

// Of 1x1 convolutions of one channel.
file::ConvChain8Parameters LongestChain() {
  file::ConvChain8Parameters chain = {};
  chain.stage_count = file::kMostStages;
  for (file::ChainStage& stage : chain.stages) {
    stage = {static_cast<uint32_t>(OperatorKind::kConv8), 1, 1, 1, {}};
    stage.conv.window = {1, 1, 1, 1, 1, 1, 0, 0, 1};
    stage.conv.high = 255;
  }
  return chain;
}

// As many operators as a file may have, in as few bytes each as their kind can be told in.
std::string ManyOperators(OperatorKind kind, uint32_t count = file::kMaxOperators) {
  FileWriter writer;
  const auto codes = [&](const char* name, Place place, uint64_t offset) {
    return writer.AddTensor({.name = name,
                             .type = Type::kUint8,
                             .dims = {1, 1, 1, 1},
                             .place = place,
                             .offset = offset});
  };
  const uint32_t in = codes("in", Place::kInput, 0), out = codes("out", Place::kOutput, 0);
  writer.SetInterface({in}, {out});
  const std::vector<std::byte> table(256);
  const uint32_t constant = writer.AddConstant(table);
  for (uint32_t i = 0; i < count; ++i) {
    FileWriter::OperatorSpec op{.kind = kind, .name = "", .inputs = {in}, .outputs = {out}};
    if (kind == OperatorKind::kLookup8) {
      op.constants = {constant};
    } else if (kind == OperatorKind::kAdd8) {
      op.inputs = {in, in};
      op.parameters = file::BytesOf(file::Add8Parameters{{1, 1, 0, 0, 0, 0, 255}, 0, 0});
    } else if (kind == OperatorKind::kConvChain8) {
      // Its weights, bias and multipliers read the same zeros.
      op.constants.assign(3 * file::kMostStages, constant);
      op.parameters = file::BytesOf(LongestChain());
    } else {
      op.parameters = file::BytesOf(file::MoveParameters{{1, 1, 1, 1, 1, 1}, {}, 0});
    }
    writer.AddOperator(std::move(op));
  }
  return writer.Bytes();
}

TEST(SoundFilesTest, NoneTakesMoreThanTwiceItsSizeAndTheAllowance) {
  if (!testing::HeapIsWatched()) GTEST_SKIP() << "allocations cannot be counted here";
  for (const OperatorKind kind : {OperatorKind::kLookup8, OperatorKind::kAdd8, OperatorKind::kMove,
                                  OperatorKind::kConvChain8}) {
    FileBytes file(ManyOperators(kind));
    bool ran = false;
    const int64_t bytes = MostBytes(file, &ran);
    EXPECT_TRUE(ran);
    EXPECT_LE(bytes, 2 * static_cast<int64_t>(file.bytes().size()) + kAllowance - kActivations);
    std::printf("kind %d: file %zu bytes, at most %lld\n", static_cast<int>(kind),
                file.bytes().size(), static_cast<long long>(bytes));
  }
}

TEST(SoundFilesTest, MoreOperatorsThanThatAreRefused) {
  FileBytes file(ManyOperators(OperatorKind::kLookup8, file::kMaxOperators + 1));
  std::shared_ptr<const Model> model;
  EXPECT_THAT(Model::FromBytes(file.bytes(), {}, model).message(),
              ::testing::HasSubstr("65537 operators; at most 65536"));
}

// A file that asks for more activations than its tensors have, or than the caller allows.
TEST(SoundFilesTest, AnArenaBeyondItsTensorsIsRefused) {
  const testing::SmallNetwork network;
  FileBytes file(network.File());
  file.Records<file::Plan>(file::SectionKind::kPlans)[0].arena_bytes = int64_t{1} << 40;
  // Even where one of them ends there.
  auto& tensor = file.Records<file::Tensor>(file::SectionKind::kTensors)[2];
  tensor.offset = (int64_t{1} << 40) - 1024;
  file.Seal();
  std::shared_ptr<const Model> model;
  EXPECT_THAT(Model::FromBytes(file.bytes(), {}, model).message(),
              ::testing::HasSubstr("the arena has"));
}

}  // namespace
}  // namespace ds::engine
