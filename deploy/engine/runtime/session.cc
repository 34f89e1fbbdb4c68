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
  made->options_ = options;
  made->programs_.resize(static_cast<size_t>(made->model_->shape_count()));
  DS_ENGINE_RETURN_IF_ERROR(made->Allocate());
  made->threads_ = std::make_unique<Threads>(options.threads);
  DS_ENGINE_RETURN_IF_ERROR(made->SelectShape(0));
  session = std::move(made);
  return {};
}

// Reserves what the largest of each takes among all shapes.
Status Session::Allocate() {
  const FileView& first = model_->view();
  std::vector<int64_t> parts(1 + first.inputs.size());
  for (int shape = 0; shape < model_->shape_count(); ++shape) {
    const FileView& view = model_->view(shape);
    Program& program = programs_[static_cast<size_t>(shape)];
    program.outputs = PlaceOutputs(view);
    parts[0] = std::max(parts[0], program.outputs.arena_bytes);
    for (size_t i = 0; i < view.inputs.size(); ++i) {
      const file::Tensor& input = view.tensors[view.inputs[i]];
      parts[1 + i] = std::max(parts[1 + i], static_cast<int64_t>(input.bytes));
    }
  }
  int64_t bytes = 0;
  for (const int64_t part : parts) {
    if (bytes <= options_.most_bytes) bytes += part;  // otherwise it could overflow
  }
  const Status too_much =
      Status::Error("the model's activations take " + std::to_string(bytes) +
                    " bytes or more; allowed are " + std::to_string(options_.most_bytes));
  if (bytes > options_.most_bytes) return too_much;
  buffer_bytes_ = bytes;
  if (!memory_.Reserve(parts, model_->shape_count() == 1)) return too_much;
  inputs_.resize(first.inputs.size());
  outputs_.resize(first.outputs.size());
  return {};
}

Buffers Session::BuffersOf(const Program& program) const {
  Buffers buffers;
  buffers.arena = memory_.part(0);
  for (size_t i = 0; i < inputs_.size(); ++i) buffers.inputs.push_back(memory_.part(1 + i));
  for (const int64_t offset : program.outputs.offsets)
    buffers.outputs.push_back(memory_.part(0) + offset);
  return buffers;
}

Status Session::MakeSteps(const FileView& view, Program& program) const {
  const Buffers buffers = BuffersOf(program);
  program.steps.reserve(view.operators.size());
  for (const file::Operator& op : view.operators) {
    const StepMaker make = MakerOf(op.kind);
    if (make == nullptr) {
      return Status::Error("operator '" + std::string(view.Name(op)) + "' is of kind " +
                           std::to_string(op.kind) +
                           ", which this engine does not have: it is of an older version");
    }
    std::unique_ptr<Step> step;
    DS_ENGINE_RETURN_IF_ERROR(make(Binding(view, model_->kernels(), buffers, op), step));
    program.work += step->work();
    program.steps.push_back(std::move(step));
  }
  return {};
}

Status Session::Prepare(const FileView& view, Program& program) {
  Program made;
  made.outputs = program.outputs;
  DS_ENGINE_RETURN_IF_ERROR(MakeSteps(view, made));
  int64_t scratch = 0;
  for (const auto& step : made.steps) scratch = std::max(scratch, step->scratch_bytes());
  const int64_t all = buffer_bytes_ + scratch * options_.threads;
  if (all > options_.most_bytes || !threads_->Reserve(scratch)) {
    return Status::Error("the model's activations and its threads' scratch take " +
                         std::to_string(all) + " bytes; allowed are " +
                         std::to_string(options_.most_bytes));
  }
  if (options_.profile) made.profile.assign(made.steps.size(), 0);
  made.ready = true;
  program = std::move(made);
  memory_.Touch(0, program.outputs.arena_bytes);
  return {};
}

Status Session::SelectShape(int number) {
  if (number < 0 || number >= model_->shape_count()) {
    return Status::Error("the file has " + std::to_string(model_->shape_count()) +
                         " shapes; there is no number " + std::to_string(number));
  }
  const FileView& view = model_->view(number);
  Program& program = programs_[static_cast<size_t>(number)];
  if (!program.ready) DS_ENGINE_RETURN_IF_ERROR(Prepare(view, program));
  for (size_t i = 0; i < inputs_.size(); ++i) {
    inputs_[i] = PortOf(view, view.inputs[i], memory_.part(1 + i));
    memory_.Touch(1 + i, inputs_[i].bytes);
  }
  for (size_t i = 0; i < outputs_.size(); ++i) {
    outputs_[i] = PortOf(view, view.outputs[i], memory_.part(0) + program.outputs.offsets[i]);
  }
  current_ = &program;
  shape_ = number;
  return {};
}

Status Session::NoShape(const std::string& asked) const {
  return Status::Error("the file has no plan for " + asked + "; it has " + model_->ShapesText() +
                       ": take one of these, or write the file with that one, too (ds_export " +
                       "--batch, --input-shape)");
}

Status Session::SetShape(std::span<const uint32_t> dims) {
  const int number = model_->FindShape(dims);
  if (number >= 0) return SelectShape(number);
  std::string asked;
  for (const uint32_t dim : dims) asked += (asked.empty() ? "" : ", ") + std::to_string(dim);
  return NoShape("inputs of [" + asked + "]");
}

Status Session::SetBatch(uint32_t batch) {
  const int number = model_->FindBatch(batch);
  return number >= 0 ? SelectShape(number) : NoShape("a batch of " + std::to_string(batch));
}

void Session::Run() {
  if (current_->profile.empty()) {
    for (const auto& step : current_->steps) threads_->Run(*step);
    return;
  }
  int64_t begin = Now();
  for (size_t i = 0; i < current_->steps.size(); ++i) {
    threads_->Run(*current_->steps[i]);
    const int64_t end = Now();
    current_->profile[i] += end - begin;
    begin = end;
  }
}

}  // namespace ds::engine
