#include "deploy/engine/runtime/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/deploy/engine/runtime/small_files.h"

namespace ds::engine {
namespace {

using testing::FileBytes;
using testing::SmallNetwork;

int32_t Clamp(double value, int32_t zero, int32_t low, int32_t high) {
  return std::clamp(static_cast<int32_t>(std::nearbyint(value)) + zero, low, high);
}

// The same network in plain arithmetic, written apart from the kernels.
std::vector<float> Reference(const SmallNetwork& net, const std::vector<float>& image) {
  constexpr int32_t kS = SmallNetwork::kSize, kC = SmallNetwork::kMiddle;
  const auto q = [&](int32_t y, int32_t x, int32_t c) {
    if (y < 0 || x < 0 || y >= kS || x >= kS) return 128;
    return Clamp(image[(c * kS + y) * kS + x] / SmallNetwork::kScales[0], 128, 0, 255);
  };
  std::vector<int32_t> a(kS * kS * kC), b(a.size());
  for (int32_t p = 0; p < kS * kS; ++p) {
    for (int32_t c = 0; c < kC; ++c) {
      int32_t sum = net.bias[c];
      for (int32_t t = 0; t < 9; ++t) {
        for (int32_t k = 0; k < 3; ++k)
          sum +=
              (q(p / kS + t / 3 - 1, p % kS + t % 3 - 1, k) - 128) * net.first[(c * 9 + t) * 3 + k];
      }
      a[p * kC + c] = Clamp(static_cast<float>(sum) * 0.002f, 100, 0, 255);
    }
  }
  std::vector<int32_t> sums(kC);
  for (int32_t p = 0; p < kS * kS; ++p) {
    for (int32_t c = 0; c < kC; ++c) {
      int32_t sum = net.bias[c];
      for (int32_t k = 0; k < kC; ++k) sum += (a[p * kC + k] - 100) * net.second[c * kC + k];
      const int32_t own = Clamp(static_cast<float>(sum) * 0.003f, 90, 90, 255);
      const float x = static_cast<float>(own - 90) * 0.7f;
      const float y = static_cast<float>(a[p * kC + c] - 100) * 0.9f;
      b[p * kC + c] = Clamp(x + y, 30, 0, 255);
      sums[c] += b[p * kC + c] - 30;
    }
  }
  std::vector<float> scores;
  const float share = 0.04f / (0.03f * static_cast<float>(kS * kS));
  for (int32_t o = 0; o < SmallNetwork::kOut; ++o) {
    int32_t sum = 5;
    for (int32_t c = 0; c < kC; ++c) {
      const int32_t pooled = Clamp(static_cast<float>(sums[c]) * share, 20, 0, 255);
      sum += (pooled - 20) * net.last[o * kC + c];
    }
    const int32_t code = Clamp(static_cast<float>(sum) * 0.004f, 128, 0, 255);
    scores.push_back(static_cast<float>(code - 128) * SmallNetwork::kScales[3]);
  }
  return scores;
}

std::vector<float> Image(uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> image(3 * SmallNetwork::kSize * SmallNetwork::kSize);
  for (float& value : image) value = normal(random);
  return image;
}

std::vector<float> Scores(Session& session, const std::vector<float>& image) {
  std::memcpy(session.input(0).data, image.data(), image.size() * 4);
  session.Run();
  const auto* out = static_cast<const float*>(session.output(0).data);
  return {out, out + session.output(0).bytes / 4};
}

class SessionTest : public ::testing::Test {
 protected:
  std::unique_ptr<Session> Open(const ModelOptions& model_options = {},
                                const SessionOptions& options = {}) {
    std::shared_ptr<const Model> model;
    const Status opened = Model::FromBytes(file_.bytes(), model_options, model);
    EXPECT_TRUE(opened.ok()) << opened.message();
    std::unique_ptr<Session> session;
    const Status created = Session::Create(model, options, session);
    EXPECT_TRUE(created.ok()) << created.message();
    return session;
  }
  SmallNetwork network_;
  FileBytes file_{network_.File()};
};

TEST_F(SessionTest, EqualsPlainArithmeticInEveryInstructionSetAndForAnyThreads) {
  for (int i = 0; i < kIsaCount; ++i) {
    if (KernelsFor(static_cast<Isa>(i)) == nullptr) continue;
    for (const int threads : {1, 2, 3, 7}) {
      const auto session = Open({.isa = IsaName(static_cast<Isa>(i))}, {.threads = threads});
      EXPECT_EQ(session->threads(), threads);
      for (uint32_t seed = 0; seed < 5; ++seed) {
        EXPECT_EQ(Scores(*session, Image(seed)), Reference(network_, Image(seed)))
            << session->model().kernels().name << ", " << threads << " threads";
      }
    }
  }
}

TEST_F(SessionTest, SessionsOfOneModelRunBesideEachOther) {
  std::shared_ptr<const Model> model;
  ASSERT_TRUE(Model::FromBytes(file_.bytes(), {}, model).ok());
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (uint32_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::unique_ptr<Session> session;
      if (!Session::Create(model, {.threads = 2}, session).ok()) return void(++wrong);
      for (uint32_t seed = 0; seed < 20; ++seed) {
        if (Scores(*session, Image(seed + t)) != Reference(network_, Image(seed + t))) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(SessionTest, PortsSayWhatTheyAre) {
  const auto session = Open();
  ASSERT_EQ(session->input_count(), 1);
  EXPECT_EQ(session->input(0).name, "image");
  EXPECT_THAT(std::vector<uint32_t>(session->input(0).dims.begin(), session->input(0).dims.end()),
              ::testing::ElementsAre(1, 3, 6, 6));
  EXPECT_EQ(session->output(0).name, "scores");
  EXPECT_EQ(session->output(0).bytes, SmallNetwork::kOut * 4);
  EXPECT_TRUE(session->profile().empty());
}

TEST_F(SessionTest, AProfileHasATimeForEachOperator) {
  const auto session = Open({}, {.profile = true});
  Scores(*session, Image(1));
  EXPECT_EQ(session->profile().size(), 6u);
  EXPECT_THAT(session->profile(), ::testing::Each(::testing::Ge(0)));
}

TEST_F(SessionTest, RefusesWhatItCannotDo) {
  std::shared_ptr<const Model> model;
  ASSERT_TRUE(Model::FromBytes(file_.bytes(), {}, model).ok());
  std::unique_ptr<Session> session;
  EXPECT_THAT(Session::Create(model, {.threads = 0}, session).message(),
              ::testing::HasSubstr("1 to 256 threads, not 0"));
  EXPECT_THAT(Session::Create(model, {.most_bytes = 1000}, session).message(),
              ::testing::HasSubstr("allowed are 1000"));
  EXPECT_THAT(Model::FromBytes(file_.bytes(), {.isa = "mmx"}, model).message(),
              ::testing::HasSubstr("'mmx' was asked for"));
}

TEST_F(SessionTest, AnInstructionSetThatThisProcessorLacksIsRefusedAndSaysWhichThereAre) {
  int lacks = 0;
  for (int i = 0; i < kIsaCount; ++i) {
    const auto isa = static_cast<Isa>(i);
    if (KernelsFor(isa) != nullptr) continue;
    ++lacks;
    std::shared_ptr<const Model> model;
    EXPECT_THAT(Model::FromBytes(file_.bytes(), {.isa = IsaName(isa)}, model).message(),
                ::testing::HasSubstr("'" + std::string(IsaName(isa)) +
                                     "' was asked for, this processor has scalar"));
  }
  EXPECT_GT(lacks, 0);  // no processor is both
}

TEST_F(SessionTest, AFileIsOpenedByItsPathAndItsDamageIsNoticed) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("session." + std::to_string(getpid()) + ".dsm"));
  const std::string whole = network_.File();
  std::shared_ptr<const Model> model;
  const auto write = [&](const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
  };
  write(whole);
  EXPECT_TRUE(Model::Open(path, {.verify_weights = true}, model).ok());
  write(whole.substr(0, whole.size() - 1));
  EXPECT_THAT(Model::Open(path, {}, model).message(),
              ::testing::AllOf(::testing::HasSubstr(path), ::testing::HasSubstr("cut off")));
  std::string damaged = whole;
  damaged[200] ^= 1;
  write(damaged);
  EXPECT_THAT(Model::Open(path, {}, model).message(), ::testing::HasSubstr("tables' hash"));
  damaged = whole;
  damaged[whole.size() - 100] ^= 1;  // a weight
  write(damaged);
  EXPECT_TRUE(Model::Open(path, {}, model).ok());
  EXPECT_THAT(Model::Open(path, {.verify_weights = true}, model).message(),
              ::testing::HasSubstr("weights' hash"));
  write("");
  EXPECT_FALSE(Model::Open(path, {}, model).ok());
  std::filesystem::remove(path);
  EXPECT_THAT(Model::Open(path, {}, model).message(), ::testing::HasSubstr(path));
}

}  // namespace
}  // namespace ds::engine
