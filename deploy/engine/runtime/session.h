// Runs a model: owns its activations, inputs and outputs. A session serves one caller at a time;
// several sessions of a model run beside each other. After Create() nothing is allocated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "deploy/engine/runtime/buffer.h"
#include "deploy/engine/runtime/model.h"
#include "deploy/engine/runtime/status.h"
#include "deploy/engine/runtime/steps/step.h"
#include "deploy/engine/runtime/threads.h"

namespace ds::engine {

struct SessionOptions {
  int threads = 1;  // the caller's included; 1 to kMostThreads
  // Refuses a model whose activations, inputs, outputs and threads' scratch take more bytes.
  int64_t most_bytes = int64_t{4} << 30;
  bool profile = false;  // measure each operator; adds two clock reads to each
};
inline constexpr int kMostThreads = 256;

// An input or output. Its memory is the session's and stays where it is.
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
  // Errors name the operator, what is wrong with it, and what it takes.
  static Status Create(std::shared_ptr<const Model> model, const SessionOptions& options,
                       std::unique_ptr<Session>& session);

  int input_count() const { return static_cast<int>(inputs_.size()); }
  int output_count() const { return static_cast<int>(outputs_.size()); }
  // Whoever calls fills the inputs' memory, calls Run(), and reads the outputs' memory.
  const Port& input(int i) const { return inputs_[i]; }
  const Port& output(int i) const { return outputs_[i]; }
  void Run();

  const Model& model() const { return *model_; }
  int threads() const { return threads_->count(); }
  // Multiply-accumulates, or elements moved where there are none.
  int64_t work() const { return work_; }
  // Nanoseconds that each operator of the file took in all runs so far; empty without a profile.
  std::span<const int64_t> profile() const { return profile_; }
  // Bytes of activations, inputs, outputs and threads' scratch.
  int64_t buffer_bytes() const { return buffer_bytes_; }

 private:
  Status Allocate(const SessionOptions& options);
  Status MakeSteps();

  std::shared_ptr<const Model> model_;
  Buffer arena_;
  std::vector<Buffer> port_memory_;
  Buffers buffers_;
  std::vector<Port> inputs_, outputs_;
  std::vector<std::unique_ptr<Step>> steps_;
  std::unique_ptr<Threads> threads_;
  std::vector<int64_t> profile_;
  int64_t work_ = 0, buffer_bytes_ = 0;
};

}  // namespace ds::engine
