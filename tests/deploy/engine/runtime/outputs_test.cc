// Where a session's outputs lie: in the arena's gaps, over nothing that is used after them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "deploy/engine/runtime/place_outputs.h"
#include "deploy/engine/runtime/session.h"
#include "tests/deploy/engine/runtime/small_files.h"

namespace ds::engine {
namespace {

using file::FileWriter;
using file::OperatorKind;
using file::Place;
using file::Type;
using ::testing::ElementsAre;
using testing::FileBytes;

constexpr uint32_t kBytes = 128;

// Lookups of 128 codes, each adding one.
class Lookups {
 public:
  uint32_t Tensor(Place place, uint64_t offset) {
    return writer_.AddTensor({.name = "t",
                              .type = Type::kUint8,
                              .dims = {2, kBytes / 2},
                              .place = place,
                              .offset = offset});
  }
  void Add(uint32_t from, uint32_t to) {
    std::vector<std::byte> table(256);
    for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<std::byte>(i + 1);
    writer_.AddOperator({.kind = OperatorKind::kLookup8,
                         .name = "lookup",
                         .inputs = {from},
                         .outputs = {to},
                         .constants = {writer_.AddConstant(table)}});
  }
  std::string File(uint32_t input, std::vector<uint32_t> outputs, uint64_t arena) {
    writer_.SetInterface({input}, std::move(outputs));
    writer_.SetArena({arena, arena, arena});
    return writer_.Bytes();
  }

 private:
  FileWriter writer_;
};

OutputPlaces PlacesOf(FileBytes& file) {
  FileView view;
  const Status opened = FileView::Open(file.bytes(), view);
  EXPECT_TRUE(opened.ok()) << opened.message();
  return PlaceOutputs(view);
}

std::unique_ptr<Session> SessionOf(FileBytes& file, std::shared_ptr<const Model>& model) {
  Status status = Model::FromBytes(file.bytes(), {}, model);
  EXPECT_TRUE(status.ok()) << status.message();
  std::unique_ptr<Session> session;
  status = Session::Create(model, {}, session);
  EXPECT_TRUE(status.ok()) << status.message();
  return session;
}

uint8_t CodeOf(const Port& port) {
  const auto* codes = static_cast<const uint8_t*>(port.data);
  EXPECT_TRUE(std::all_of(codes, codes + kBytes, [&](uint8_t code) { return code == codes[0]; }));
  return codes[0];
}

// x -> a -> early, a -> b -> late: the first is there before b, over nothing that comes after it.
TEST(OutputsTest, LieWhereNothingIsUsedAfterThem) {
  Lookups net;
  const uint32_t x = net.Tensor(Place::kInput, 0), a = net.Tensor(Place::kArena, 0);
  const uint32_t b = net.Tensor(Place::kArena, kBytes), early = net.Tensor(Place::kOutput, 0);
  const uint32_t late = net.Tensor(Place::kOutput, 1);
  net.Add(x, a);
  net.Add(a, early);
  net.Add(a, b);
  net.Add(b, late);
  FileBytes file(net.File(x, {early, late}, 2 * kBytes));
  const OutputPlaces places = PlacesOf(file);
  EXPECT_THAT(places.offsets, ElementsAre(2 * kBytes, 0));
  EXPECT_EQ(places.arena_bytes, 3 * kBytes);

  std::shared_ptr<const Model> model;
  const auto session = SessionOf(file, model);
  const auto* first = static_cast<const uint8_t*>(session->output(0).data);
  EXPECT_EQ(first - static_cast<const uint8_t*>(session->output(1).data), 2 * kBytes);
  EXPECT_EQ(session->buffer_bytes() - 64, 4 * kBytes);  // with the input, and least scratch
  // The input holds what was written into it, the outputs what was computed, however often.
  std::memset(session->input(0).data, 7, kBytes);
  for (int run = 0; run < 3; ++run) {
    session->Run();
    EXPECT_EQ(CodeOf(session->output(0)), 9);
    EXPECT_EQ(CodeOf(session->output(1)), 10);
    EXPECT_EQ(*static_cast<const uint8_t*>(session->input(0).data), 7);
  }
}

// Two outputs of one moment lie apart, and an output that is read goes on being there.
TEST(OutputsTest, LieApart) {
  Lookups net;
  const uint32_t x = net.Tensor(Place::kInput, 0), a = net.Tensor(Place::kArena, 0);
  const uint32_t first = net.Tensor(Place::kOutput, 0), second = net.Tensor(Place::kOutput, 1);
  net.Add(x, a);
  net.Add(a, first);
  net.Add(first, second);
  FileBytes file(net.File(x, {first, second}, kBytes));
  EXPECT_THAT(PlacesOf(file).offsets, ElementsAre(kBytes, 0));  // a is dead by then
  std::shared_ptr<const Model> model;
  const auto session = SessionOf(file, model);
  std::memset(session->input(0).data, 1, kBytes);
  session->Run();
  EXPECT_EQ(CodeOf(session->output(0)), 3);
  EXPECT_EQ(CodeOf(session->output(1)), 4);
}

// More outputs than gaps are looked for: the rest lie behind, each in its place.
TEST(OutputsTest, ManyLieBehindEachOther) {
  Lookups net;
  const uint32_t x = net.Tensor(Place::kInput, 0);
  std::vector<uint32_t> outputs;
  for (uint64_t i = 0; i < 100; ++i) {
    outputs.push_back(net.Tensor(Place::kOutput, i));
    net.Add(i == 0 ? x : outputs[i - 1], outputs[i]);
  }
  FileBytes file(net.File(x, outputs, 0));
  std::vector<int64_t> offsets = PlacesOf(file).offsets;
  std::sort(offsets.begin(), offsets.end());
  for (size_t i = 0; i < offsets.size(); ++i)
    EXPECT_EQ(offsets[i], static_cast<int64_t>(i) * kBytes);
}

}  // namespace
}  // namespace ds::engine
