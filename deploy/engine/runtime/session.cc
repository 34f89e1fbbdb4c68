#include "deploy/engine/runtime/session.h"

#include <algorithm>
#include <chrono>
#include <string>

namespace ds::engine {
namespace {

Port PortOf(const FileView& view, uint32_t id, std::byte* data) {
  const file::Tensor& tensor = view.tensors[id];
  return {view.Name(tensor),
          static_cast<file::Type>(tensor.type),
          {tensor.dims, tensor.rank},
          data,
          static_cast<int64_t>(tensor.bytes),
          tensor.scale,
          tensor.zero_point};
}

int64_t Now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

}  // namespace

Status Session::Create(std::shared_ptr<const Model> model, const SessionOptions& options,
                       std::unique_ptr<Session>& session) {
  if (options.threads < 1 || options.threads > kMostThreads) {
    return Status::Error("a session takes 1 to " + std::to_string(kMostThreads) + " threads, not " +
                         std::to_string(options.threads));
  }
  auto made = std::make_unique<Session>();
  made->model_ = std::move(model);
  DS_ENGINE_RETURN_IF_ERROR(made->Allocate(options));
  DS_ENGINE_RETURN_IF_ERROR(made->MakeSteps());
  int64_t scratch = 0;
  for (const auto& step : made->steps_) scratch = std::max(scratch, step->scratch_bytes());
  made->threads_ = std::make_unique<Threads>(options.threads, scratch);
  made->buffer_bytes_ += made->threads_->scratch_bytes();
  if (made->buffer_bytes_ > options.most_bytes || !made->threads_->ready()) {
    return Status::Error("the model's activations and its threads' scratch take " +
                         std::to_string(made->buffer_bytes_) + " bytes; allowed are " +
                         std::to_string(options.most_bytes));
  }
  if (options.profile) made->profile_.assign(made->steps_.size(), 0);
  session = std::move(made);
  return {};
}

Status Session::Allocate(const SessionOptions& options) {
  const FileView& view = model_->view();
  int64_t bytes = static_cast<int64_t>(view.header->arena_bytes);
  for (const auto ids : {view.inputs, view.outputs}) {
    for (const uint32_t id : ids) bytes += static_cast<int64_t>(view.tensors[id].bytes);
    if (bytes > options.most_bytes) break;  // before it could overflow
  }
  const Status too_much =
      Status::Error("the model's activations take " + std::to_string(bytes) +
                    " bytes or more; allowed are " + std::to_string(options.most_bytes));
  if (bytes > options.most_bytes) return too_much;
  buffer_bytes_ = bytes;
  bool enough = arena_.Allocate(static_cast<int64_t>(view.header->arena_bytes));
  buffers_.arena = arena_.data();
  const auto add = [&](std::span<const uint32_t> ids, std::vector<std::byte*>& addresses,
                       std::vector<Port>& ports) {
    for (const uint32_t id : ids) {
      Buffer& memory = port_memory_.emplace_back();
      enough = enough && memory.Allocate(static_cast<int64_t>(view.tensors[id].bytes));
      addresses.push_back(memory.data());
      ports.push_back(PortOf(view, id, memory.data()));
    }
  };
  add(view.inputs, buffers_.inputs, inputs_);
  add(view.outputs, buffers_.outputs, outputs_);
  return enough ? Status() : too_much;
}

Status Session::MakeSteps() {
  const FileView& view = model_->view();
  steps_.reserve(view.operators.size());
  for (const file::Operator& op : view.operators) {
    const StepMaker make = MakerOf(op.kind);
    if (make == nullptr) {
      return Status::Error("operator '" + std::string(view.Name(op)) + "' is of kind " +
                           std::to_string(op.kind) +
                           ", which this engine does not have: it is of an older version");
    }
    std::unique_ptr<Step> step;
    DS_ENGINE_RETURN_IF_ERROR(make(Binding(view, model_->kernels(), buffers_, op), step));
    work_ += step->work();
    steps_.push_back(std::move(step));
  }
  return {};
}

void Session::Run() {
  if (profile_.empty()) {
    for (const auto& step : steps_) threads_->Run(*step);
    return;
  }
  int64_t begin = Now();
  for (size_t i = 0; i < steps_.size(); ++i) {
    threads_->Run(*steps_[i]);
    const int64_t end = Now();
    profile_[i] += end - begin;
    begin = end;
  }
}

}  // namespace ds::engine
