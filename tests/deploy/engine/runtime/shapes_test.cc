// Files with several shapes: what each computes, what memory they share, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "deploy/engine/runtime/session.h"
#include "tests/deploy/engine/runtime/heap_watch.h"
#include "tests/deploy/engine/runtime/small_files.h"

namespace ds::engine {
namespace {

using file::SectionKind;
using testing::FileBytes;
using ::testing::HasSubstr;
using testing::SmallNetwork;

constexpr uint32_t kSide = SmallNetwork::kSize;

std::vector<float> Images(uint32_t batch, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> images(batch * 3 * kSide * kSide);
  for (float& value : images) value = normal(random);
  return images;
}

class ShapesTest : public ::testing::Test {
 protected:
  ShapesTest() {
    const Status opened = Model::FromBytes(file_.bytes(), {}, model_);
    EXPECT_TRUE(opened.ok()) << opened.message();
    session_ = Create({});
  }
  std::unique_ptr<Session> Create(const SessionOptions& options) const {
    std::unique_ptr<Session> session;
    const Status created = Session::Create(model_, options, session);
    EXPECT_TRUE(created.ok()) << created.message();
    return session;
  }
  static std::vector<float> Scores(Session& session, const std::vector<float>& images) {
    EXPECT_EQ(session.input(0).bytes, static_cast<int64_t>(images.size() * 4));
    std::memcpy(session.input(0).data, images.data(), images.size() * 4);
    session.Run();
    const auto* out = static_cast<const float*>(session.output(0).data);
    return {out, out + session.output(0).bytes / 4};
  }

  SmallNetwork network_;
  FileBytes file_{network_.File({2, 1, 7})};
  std::shared_ptr<const Model> model_;
  std::unique_ptr<Session> session_;
};

TEST_F(ShapesTest, EachComputesWhatAFileWithThatShapeAloneDoes) {
  EXPECT_EQ(session_->input(0).dims[0], 2u);  // the file's first
  for (const uint32_t batch : {1u, 7u, 2u, 1u, 7u}) {
    FileBytes alone(network_.File({static_cast<int32_t>(batch)}));
    std::shared_ptr<const Model> model;
    std::unique_ptr<Session> session;
    ASSERT_TRUE(Model::FromBytes(alone.bytes(), {}, model).ok());
    ASSERT_TRUE(Session::Create(model, {}, session).ok());
    ASSERT_TRUE(session_->SetShape(std::vector<uint32_t>{batch, 3, kSide, kSide}).ok());
    EXPECT_EQ(session_->input(0).dims[0], batch);
    EXPECT_EQ(session_->output(0).bytes, batch * SmallNetwork::kOut * 4);
    const std::vector<float> images = Images(batch, batch);
    EXPECT_EQ(Scores(*session_, images), Scores(*session, images));
  }
}

TEST_F(ShapesTest, WeightsAreThereOnce) {
  const auto weights = [](const std::string& file) {
    return file.size() - FileBytes(file).header().tables_bytes;
  };
  EXPECT_LE(weights(network_.File({2, 1, 7})), weights(network_.File({2})) + 4096);
}

TEST_F(ShapesTest, OneThatIsNotThereIsRefusedByTheNamesOfThoseThatAre) {
  ASSERT_TRUE(session_->SetBatch(7).ok());
  const std::string there = "image [2, 3, 6, 6]; image [1, 3, 6, 6]; image [7, 3, 6, 6]";
  const Status status = session_->SetShape(std::vector<uint32_t>{3, 3, 6, 6});
  EXPECT_THAT(status.message(), HasSubstr("no plan for inputs of [3, 3, 6, 6]; it has " + there));
  EXPECT_THAT(session_->SetBatch(3).message(), HasSubstr("a batch of 3; it has " + there));
  for (const std::vector<uint32_t>& dims :
       {std::vector<uint32_t>{}, {7}, {7, 3, 6}, {7, 3, 6, 6, 1}, {7, 3, 6, 7}}) {
    EXPECT_FALSE(session_->SetShape(dims).ok());
  }
  EXPECT_FALSE(session_->SelectShape(3).ok());
  EXPECT_FALSE(session_->SelectShape(-1).ok());
  EXPECT_EQ(session_->input(0).dims[0], 7u);  // as it was
  Scores(*session_, Images(7, 1));
}

// An output's as long as the shape does.
TEST_F(ShapesTest, AnInputsMemoryStaysWhereItIs) {
  const Port &in = session_->input(0), &out = session_->output(0);
  const void *input = in.data, *output = out.data;
  for (const uint32_t batch : {7u, 1u, 2u}) {
    ASSERT_TRUE(session_->SetBatch(batch).ok());
    EXPECT_EQ(in.data, input);
    if (batch == 2) {
      EXPECT_EQ(out.data, output);
    }
    EXPECT_EQ(in.bytes, batch * 3 * kSide * kSide * 4);
  }
}

TEST_F(ShapesTest, TheLargestCountsAgainstTheLimit) {
  const auto session = Create({});
  std::unique_ptr<Session> limited;
  const int64_t needed = session->buffer_bytes();
  EXPECT_GE(needed, 7 * (108 + 2 * 288) + 7 * 4 * (3 * kSide * kSide + SmallNetwork::kOut));
  EXPECT_TRUE(Session::Create(model_, {.most_bytes = needed}, limited).ok());
  EXPECT_FALSE(Session::Create(model_, {.most_bytes = 7 * (108 + 2 * 288)}, limited).ok());
}

TEST_F(ShapesTest, AProfileIsTheShapes) {
  const auto session = Create({.profile = true});
  Scores(*session, Images(2, 1));
  ASSERT_TRUE(session->SetBatch(7).ok());
  EXPECT_THAT(session->profile(), ::testing::Each(0));
  Scores(*session, Images(7, 1));
  EXPECT_THAT(session->profile(), ::testing::Contains(::testing::Gt(0)));
}

TEST_F(ShapesTest, AfterTheFirstInferenceOfAShapeNothingIsAllocated) {
  if (!testing::HeapIsWatched()) GTEST_SKIP() << "allocations cannot be counted here";
  for (const int threads : {1, 3}) {
    const auto session = Create({.threads = threads});
    const int64_t before_any = testing::HeapNow().allocations;
    for (int shape = 0; shape < 3; ++shape) {
      ASSERT_TRUE(session->SelectShape(shape).ok());
      session->Run();
    }
    ASSERT_GT(testing::HeapNow().allocations, before_any);  // the watch counts
    std::mt19937 random(11);
    const std::vector<uint32_t> dims[] = {
        {2, 3, kSide, kSide}, {1, 3, kSide, kSide}, {7, 3, kSide, kSide}};
    const int64_t before = testing::HeapNow().allocations;
    for (int i = 0; i < 10000 / threads / threads; ++i) {
      if (!session->SetShape(dims[random() % 3]).ok()) break;
      session->Run();
    }
    EXPECT_EQ(testing::HeapNow().allocations, before) << threads << " threads";
  }
}

// Faults in one plan of several.
class SpoiltPlansTest : public ShapesTest {
 protected:
  template <typename T, typename Spoil>
  std::string With(SectionKind kind, Spoil spoil) {
    FileBytes file(network_.File({2, 1, 7}));
    spoil(file.Records<T>(kind));
    file.Seal();
    std::shared_ptr<const Model> model;
    return Model::FromBytes(file.bytes(), {}, model).message();
  }
  template <typename Spoil>
  std::string WithPlans(Spoil spoil) {
    return With<file::Plan>(SectionKind::kPlans, spoil);
  }
};

TEST_F(SpoiltPlansTest, PlansFollowEachOtherAndCoverTheTables) {
  EXPECT_EQ(WithPlans([](auto) {}), "");
  EXPECT_THAT(WithPlans([](auto p) { p[1].first_tensor = 0; }),
              HasSubstr("plan 1 does not follow"));
  EXPECT_THAT(WithPlans([](auto p) { p[2].first_operator = 99; }),
              HasSubstr("plan 2 does not follow"));
  EXPECT_THAT(WithPlans([](auto p) { p[2].tensor_count += 1; }),
              HasSubstr("the plans do not have"));
  EXPECT_THAT(WithPlans([](auto p) { p[2].operator_count -= 1; }),
              HasSubstr("the plans do not have"));
  EXPECT_THAT(WithPlans([](auto p) { p[1].arena_bytes = uint64_t(-1); }), HasSubstr("plan 1"));
  EXPECT_THAT(WithPlans([](auto p) { p[2].arena_bytes *= 2; }), HasSubstr("the arena has"));
}

TEST_F(SpoiltPlansTest, InterfacesAreAlike) {
  const auto tensors = [&](auto spoil) { return With<file::Tensor>(SectionKind::kTensors, spoil); };
  // Tensor 7 is the second plan's input.
  EXPECT_THAT(tensors([](auto t) { t[7].name_bytes = 1; }),
              HasSubstr("plan 1: input 0 has another"));
  for (const uint32_t other : {1u, 7u}) {  // not its input; none of its tensors
    EXPECT_THAT(With<uint32_t>(SectionKind::kInterface, [&](auto ids) { ids[2] = other; }),
                HasSubstr("plan 1: tensor 0: lies in another one's input"));
  }
}

}  // namespace
}  // namespace ds::engine
