#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "deploy/engine/capi/ds_engine.h"
#include "deploy/engine/runtime/session.h"

namespace {

const std::string kFolder = std::string(DS_SOURCE_DIR) + "/tests/fuzz/corpus/dsm/";
const std::string kModel = kFolder + "every_kind.dsm";

struct Opened {
  ds_engine_model* model = nullptr;
  ds_engine_session* session = nullptr;
  std::array<char, 256> error{};

  explicit Opened(const std::string& path = kModel) {
    EXPECT_EQ(ds_engine_open(path.c_str(), 1, &model, error.data(), error.size()), 0)
        << error.data();
    EXPECT_EQ(ds_engine_new_session(model, 2, &session, error.data(), error.size()), 0)
        << error.data();
  }
  ~Opened() {
    ds_engine_free_session(session);
    ds_engine_close(model);
  }
};

void FillInput(void* data, size_t bytes) {
  auto* values = static_cast<float*>(data);
  for (size_t i = 0; i < bytes / 4; ++i) values[i] = static_cast<float>(i % 13) - 6;
}

TEST(CInterface, GivesWhatTheCppInterfaceGives) {
  Opened opened;
  std::shared_ptr<const ds::engine::Model> model;
  std::unique_ptr<ds::engine::Session> session;
  ASSERT_TRUE(ds::engine::Model::Open(kModel, {}, model).ok());
  ASSERT_TRUE(ds::engine::Session::Create(model, {}, session).ok());
  ASSERT_EQ(ds_engine_input_count(opened.session), session->input_count());
  ASSERT_EQ(ds_engine_output_count(opened.session), 2);
  const ds_engine_port* in = ds_engine_input(opened.session, 0);
  FillInput(in->data, in->bytes);
  FillInput(session->input(0).data, in->bytes);
  ds_engine_run(opened.session);
  session->Run();
  for (int i = 0; i < 2; ++i) {
    const ds_engine_port* out = ds_engine_output(opened.session, i);
    EXPECT_EQ(out->name, session->output(i).name);
    EXPECT_EQ(out->type, DS_ENGINE_FLOAT32);
    ASSERT_EQ(out->bytes, static_cast<size_t>(session->output(i).bytes));
    EXPECT_EQ(std::memcmp(out->data, session->output(i).data, out->bytes), 0);
    EXPECT_EQ(
        std::vector<uint32_t>(out->dims, out->dims + out->rank),
        std::vector<uint32_t>(session->output(i).dims.begin(), session->output(i).dims.end()));
  }
}

TEST(CInterface, ASessionOutlivesItsModelsHandle) {
  Opened opened;
  ds_engine_close(opened.model);
  opened.model = nullptr;
  ds_engine_run(opened.session);
}

TEST(CInterface, PortsThatAreNotThereAreNull) {
  Opened opened;
  EXPECT_EQ(ds_engine_input(opened.session, 2), nullptr);
  EXPECT_EQ(ds_engine_input(opened.session, -1), nullptr);
  EXPECT_EQ(ds_engine_output(opened.session, 2), nullptr);
}

// Batches of 2 and 1.
TEST(CInterface, ASessionTakesTheShapeOfARequest) {
  Opened opened(kFolder + "shapes.dsm");
  ds_engine_session* session = opened.session;
  ASSERT_EQ(ds_engine_shape_count(session), 2);
  const ds_engine_port *in = ds_engine_input(session, 0), *out = ds_engine_output(session, 0);
  const void* memory = in->data;
  ASSERT_EQ(in->dims[0], 2u);
  FillInput(in->data, in->bytes);
  ds_engine_run(session);
  const auto* scores = static_cast<const float*>(out->data);
  const std::vector<float> second(scores + 5, scores + 10);

  const uint32_t one[] = {1, 3, 6, 6};
  auto& error = opened.error;
  ASSERT_EQ(ds_engine_set_shape(session, one, 4, error.data(), error.size()), 0) << error.data();
  EXPECT_EQ(in->dims[0], 1u);  // the same record
  EXPECT_EQ(in->data, memory);
  EXPECT_EQ(in->bytes, 3u * 6 * 6 * 4);
  EXPECT_EQ(out->bytes, 5u * 4);
  EXPECT_STREQ(in->name, "image");
  std::vector<float> both(2 * 3 * 6 * 6);
  FillInput(both.data(), both.size() * 4);
  std::memcpy(in->data, both.data() + both.size() / 2, in->bytes);
  ds_engine_run(session);
  EXPECT_EQ(std::vector<float>(scores, scores + 5), second);

  const uint32_t none[] = {3, 3, 6, 6};
  EXPECT_NE(ds_engine_set_shape(session, none, 4, error.data(), error.size()), 0);
  EXPECT_THAT(error.data(), ::testing::HasSubstr("it has image [2, 3, 6, 6]; image [1, 3, 6, 6]"));
  EXPECT_EQ(in->dims[0], 1u);
}

TEST(CInterface, ShapesAreListed) {
  Opened opened(kFolder + "shapes.dsm");
  const uint32_t* dims = ds_engine_shape_dims(opened.session, 1, 0);
  ASSERT_NE(dims, nullptr);
  EXPECT_EQ(std::vector<uint32_t>(dims, dims + 4), (std::vector<uint32_t>{1, 3, 6, 6}));
  EXPECT_EQ(ds_engine_shape_dims(opened.session, 2, 0), nullptr);
  EXPECT_EQ(ds_engine_shape_dims(opened.session, -1, 0), nullptr);
  EXPECT_EQ(ds_engine_shape_dims(opened.session, 0, 1), nullptr);
}

TEST(CInterface, ErrorsAreWholeWordsOrCut) {
  ds_engine_model* model = reinterpret_cast<ds_engine_model*>(1);
  std::array<char, 12> error;
  error.fill('x');
  EXPECT_NE(ds_engine_open("/no/such/model.dsm", 0, &model, error.data(), error.size()), 0);
  EXPECT_EQ(model, nullptr);
  EXPECT_EQ(std::strlen(error.data()), error.size() - 1);
  EXPECT_NE(ds_engine_open("/no/such/model.dsm", 0, &model, nullptr, 0), 0);
  Opened opened;
  ds_engine_session* session = nullptr;
  std::array<char, 256> whole;
  EXPECT_NE(ds_engine_new_session(opened.model, 0, &session, whole.data(), whole.size()), 0);
  EXPECT_THAT(whole.data(), ::testing::HasSubstr("1 to 256 threads"));
}

}  // namespace
