#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <string>

#include "deploy/engine/capi/ds_engine.h"
#include "deploy/engine/runtime/session.h"

namespace {

const std::string kModel = std::string(DS_SOURCE_DIR) + "/tests/fuzz/corpus/dsm/every_kind.dsm";

struct Opened {
  ds_engine_model* model = nullptr;
  ds_engine_session* session = nullptr;
  std::array<char, 256> error{};

  Opened() {
    EXPECT_EQ(ds_engine_open(kModel.c_str(), 1, &model, error.data(), error.size()), 0)
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
