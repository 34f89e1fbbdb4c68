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
  std::vector<int64_t> inputs(first.inputs.size()), outputs(first.outputs.size());
  int64_t arena = 0;
  for (int shape = 0; shape < model_->shape_count(); ++shape) {
    const FileView& view = model_->view(shape);
    const auto most = [&](std::span<const uint32_t> ids, std::vector<int64_t>& bytes) {
      for (size_t i = 0; i < ids.size(); ++i)
        bytes[i] = std::max(bytes[i], static_cast<int64_t>(view.tensors[ids[i]].bytes));
    };
    most(view.inputs, inputs);
    most(view.outputs, outputs);
    arena = std::max(arena, static_cast<int64_t>(view.plan->arena_bytes));
  }
  int64_t bytes = arena;
  for (const auto* ports : {&inputs, &outputs}) {
    for (const int64_t port : *ports) {
      if (bytes <= options_.most_bytes) bytes += port;  // otherwise it could overflow
    }
  }
  const Status too_much =
      Status::Error("the model's activations take " + std::to_string(bytes) +
                    " bytes or more; allowed are " + std::to_string(options_.most_bytes));
  if (bytes > options_.most_bytes) return too_much;
  buffer_bytes_ = bytes;
  bool enough = arena_.Reserve(arena);
  buffers_.arena = arena_.data();
  const auto reserve = [&](const std::vector<int64_t>& sizes, std::vector<Buffer>& memory,
                           std::vector<std::byte*>& addresses) {
    for (const int64_t size : sizes) {
      enough = enough && memory.emplace_back().Reserve(size);
      addresses.push_back(enough ? memory.back().data() : nullptr);
    }
  };
  reserve(inputs, input_memory_, buffers_.inputs);
  reserve(outputs, output_memory_, buffers_.outputs);
  inputs_.resize(inputs.size());
  outputs_.resize(outputs.size());
  return enough ? Status() : too_much;
}

Status Session::MakeSteps(const FileView& view, Program& program) const {
  program.steps.reserve(view.operators.size());
  for (const file::Operator& op : view.operators) {
    const StepMaker make = MakerOf(op.kind);
    if (make == nullptr) {
      return Status::Error("operator '" + std::string(view.Name(op)) + "' is of kind " +
                           std::to_string(op.kind) +
                           ", which this engine does not have: it is of an older version");
    }
    std::unique_ptr<Step> step;
    DS_ENGINE_RETURN_IF_ERROR(make(Binding(view, model_->kernels(), buffers_, op), step));
    program.work += step->work();
    program.steps.push_back(std::move(step));
  }
  return {};
}

Status Session::Prepare(const FileView& view, Program& program) {
  Program made;
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
  arena_.Touch(static_cast<int64_t>(view.plan->arena_bytes));
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
  const auto set = [&](std::span<const uint32_t> ids, std::vector<Buffer>& memory,
                       std::vector<Port>& ports) {
    for (size_t i = 0; i < ids.size(); ++i) {
      ports[i] = PortOf(view, ids[i], memory[i].data());
      memory[i].Touch(ports[i].bytes);
    }
  };
  set(view.inputs, input_memory_, inputs_);
  set(view.outputs, output_memory_, outputs_);
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
