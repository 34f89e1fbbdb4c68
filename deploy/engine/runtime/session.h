// Runs a model: owns its activations, inputs and outputs. A session serves one caller at a time;
// several sessions of a model run beside each other. Where the file has several shapes, the memory
// of the largest serves all of them. Nothing is allocated after Create(), but for what a shape
// needs when it is set for the first time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "deploy/engine/runtime/model.h"
#include "deploy/engine/runtime/place_outputs.h"
#include "deploy/engine/runtime/session_memory.h"
#include "deploy/engine/runtime/status.h"
#include "deploy/engine/runtime/steps/step.h"
#include "deploy/engine/runtime/threads.h"

namespace ds::engine {

struct SessionOptions {
  int threads = 1;  // the caller's included; 1 to kMostThreads
  // Refuses a model whose activations, inputs, outputs and threads' scratch take more bytes, in its
  // largest shape.
  int64_t most_bytes = int64_t{4} << 30;
  bool profile = false;  // measure each operator; adds two clock reads to each
};
inline constexpr int kMostThreads = 256;

// An input or output. Its memory is the session's. An input's stays where it is, and holds what was
// written into it; an output's is where it is as long as the shape is set, and what it holds stays
// until the next Run(), or another shape. With another shape both have other dims and bytes.
struct Port {
  std::string_view name;
  file::Type type = file::Type::kFloat32;
  std::span<const uint32_t> dims;
  void* data = nullptr;
  int64_t bytes = 0;  // dense
  // Of codes: real = scale * (code - zero_point).
  float scale = 0;
  int32_t zero_point = 0;
};

class Session {
 public:
  // In the file's first shape. Errors name the operator, what is wrong with it, and what it takes.
  static Status Create(std::shared_ptr<const Model> model, const SessionOptions& options,
                       std::unique_ptr<Session>& session);

  // What the inputs look like from now on: their extents, those of one input behind another's. The
  // inputs' contents are undefined then. An error names the shapes that the file has; the session
  // keeps the one that it had.
  Status SetShape(std::span<const uint32_t> dims);
  // The first shape of such a batch: the first extent of the first input. Errors as above.
  Status SetBatch(uint32_t batch);
  // A shape by its number, 0 to model().shape_count() - 1.
  Status SelectShape(int number);
  int shape() const { return shape_; }

  int input_count() const { return static_cast<int>(inputs_.size()); }
  int output_count() const { return static_cast<int>(outputs_.size()); }
  // Whoever calls fills the inputs' memory, calls Run(), and reads the outputs' memory.
  const Port& input(int i) const { return inputs_[i]; }
  const Port& output(int i) const { return outputs_[i]; }
  void Run();

  const Model& model() const { return *model_; }
  int threads() const { return threads_->count(); }
  // Multiply-accumulates, or elements moved where there are none.
  int64_t work() const { return current_->work; }
  // Nanoseconds that each operator of the shape's plan took in all runs so far; empty without a
  // profile.
  std::span<const int64_t> profile() const { return current_->profile; }
  // Bytes of activations, inputs and outputs in the largest shape, and of threads' scratch.
  int64_t buffer_bytes() const { return buffer_bytes_ + threads_->scratch_bytes(); }

 private:
  // What a shape runs. Without steps until it is first set.
  struct Program {
    OutputPlaces outputs;  // from the beginning
    std::vector<std::unique_ptr<Step>> steps;
    std::vector<int64_t> profile;
    int64_t work = 0;
    bool ready = false;
  };

  Status NoShape(const std::string& asked) const;
  Status Allocate();
  Buffers BuffersOf(const Program& program) const;
  Status MakeSteps(const FileView& view, Program& program) const;
  Status Prepare(const FileView& view, Program& program);

  std::shared_ptr<const Model> model_;
  SessionOptions options_;
  SessionMemory memory_;  // the arena with the outputs, then inputs
  std::vector<Port> inputs_, outputs_;
  std::vector<Program> programs_;  // one a shape
  Program* current_ = nullptr;
  int shape_ = -1;
  std::unique_ptr<Threads> threads_;
  int64_t buffer_bytes_ = 0;  // without scratch
};

}  // namespace ds::engine
