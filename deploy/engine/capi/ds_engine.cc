#include "deploy/engine/capi/ds_engine.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "deploy/engine/runtime/session.h"

struct ds_engine_model {
  std::shared_ptr<const ds::engine::Model> model;
};

struct ds_engine_session {
  std::unique_ptr<ds::engine::Session> session;
  std::vector<std::string> names;  // ended by 0, as the file's are not
  std::vector<ds_engine_port> inputs, outputs;
};

namespace {

using ds::engine::Port;
using ds::engine::Session;
using ds::engine::Status;

int Answer(const Status& status, char* error, size_t error_size) {
  if (status.ok()) return 0;
  if (error != nullptr && error_size > 0) {
    const size_t count = std::min(status.message().size(), error_size - 1);
    std::memcpy(error, status.message().data(), count);
    error[count] = '\0';
  }
  return 1;
}

// No exception leaves: the only one that the runtime's own code can meet is a lack of memory.
template <typename Call>
int Guarded(Call call, char* error, size_t error_size) {
  try {
    return Answer(call(), error, error_size);
  } catch (const std::exception& what) {
    return Answer(Status::Error(std::string("the engine failed: ") + what.what()), error,
                  error_size);
  }
}

ds_engine_port PortOf(const Port& port, const std::string& name) {
  return {name.c_str(),
          static_cast<ds_engine_type>(port.type),
          static_cast<int>(port.dims.size()),
          port.dims.data(),
          port.data,
          static_cast<size_t>(port.bytes),
          port.scale,
          port.zero_point};
}

void AddNames(ds_engine_session& made) {
  const Session& session = *made.session;
  const int inputs = session.input_count(), outputs = session.output_count();
  made.names.reserve(static_cast<size_t>(inputs + outputs));  // their addresses stay
  for (int i = 0; i < inputs; ++i) made.names.emplace_back(session.input(i).name);
  for (int i = 0; i < outputs; ++i) made.names.emplace_back(session.output(i).name);
  made.inputs.resize(static_cast<size_t>(inputs));
  made.outputs.resize(static_cast<size_t>(outputs));
}

// As the session's shape has them; the records stay where they are.
void FillPorts(ds_engine_session& made) {
  auto name = made.names.begin();
  for (size_t i = 0; i < made.inputs.size(); ++i)
    made.inputs[i] = PortOf(made.session->input(static_cast<int>(i)), *name++);
  for (size_t i = 0; i < made.outputs.size(); ++i)
    made.outputs[i] = PortOf(made.session->output(static_cast<int>(i)), *name++);
}

const ds_engine_port* PortAt(const std::vector<ds_engine_port>& ports, int number) {
  return number >= 0 && static_cast<size_t>(number) < ports.size() ? &ports[number] : nullptr;
}

}  // namespace

int ds_engine_open(const char* path, int verify_weights, ds_engine_model** model, char* error,
                   size_t error_size) {
  const auto open = [&] {
    auto made = std::make_unique<ds_engine_model>();
    DS_ENGINE_RETURN_IF_ERROR(
        ds::engine::Model::Open(path, {.verify_weights = verify_weights != 0}, made->model));
    *model = made.release();
    return Status();
  };
  *model = nullptr;
  return Guarded(open, error, error_size);
}

void ds_engine_close(ds_engine_model* model) { delete model; }

int ds_engine_new_session(const ds_engine_model* model, int threads, ds_engine_session** session,
                          char* error, size_t error_size) {
  const auto create = [&] {
    auto made = std::make_unique<ds_engine_session>();
    DS_ENGINE_RETURN_IF_ERROR(Session::Create(model->model, {.threads = threads}, made->session));
    AddNames(*made);
    FillPorts(*made);
    *session = made.release();
    return Status();
  };
  *session = nullptr;
  return Guarded(create, error, error_size);
}

void ds_engine_free_session(ds_engine_session* session) { delete session; }

int ds_engine_input_count(const ds_engine_session* session) {
  return static_cast<int>(session->inputs.size());
}
int ds_engine_output_count(const ds_engine_session* session) {
  return static_cast<int>(session->outputs.size());
}
const ds_engine_port* ds_engine_input(const ds_engine_session* session, int number) {
  return PortAt(session->inputs, number);
}
const ds_engine_port* ds_engine_output(const ds_engine_session* session, int number) {
  return PortAt(session->outputs, number);
}

int ds_engine_set_shape(ds_engine_session* session, const uint32_t* dims, size_t count, char* error,
                        size_t error_size) {
  const auto set = [&] {
    DS_ENGINE_RETURN_IF_ERROR(session->session->SetShape({dims, count}));
    FillPorts(*session);
    return Status();
  };
  return Guarded(set, error, error_size);
}

int ds_engine_shape_count(const ds_engine_session* session) {
  return session->session->model().shape_count();
}

const uint32_t* ds_engine_shape_dims(const ds_engine_session* session, int shape, int input) {
  if (shape < 0 || shape >= ds_engine_shape_count(session) || input < 0 ||
      static_cast<size_t>(input) >= session->inputs.size()) {
    return nullptr;
  }
  const ds::engine::FileView& view = session->session->model().view(shape);
  return view.tensors[view.inputs[static_cast<size_t>(input)]].dims;
}

void ds_engine_run(ds_engine_session* session) { session->session->Run(); }
