// One operator of a file, checked against the file's own tables and bound to its buffers: all that
// is left to do is to run it. Nothing here allocates once made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "deploy/engine/runtime/file_view.h"
#include "deploy/engine/runtime/kernels/kernels.h"
#include "deploy/engine/runtime/status.h"

namespace ds::engine {

class Step {
 public:
  virtual ~Step() = default;
  // Does a part of [0, units()); every split gives the same bits. `scratch` has scratch_bytes(),
  // aligned to 64, for this thread alone.
  virtual void Run(Range units, void* scratch) const = 0;

  int32_t units() const { return units_; }
  int64_t scratch_bytes() const { return scratch_bytes_; }
  // Elements read or multiply-accumulates, whichever is more: whether threads are worth waking.
  int64_t work() const { return work_; }
  // Where it is several, one done wholly before the next: these are run instead of it.
  virtual std::span<const std::unique_ptr<Step>> parts() const { return {}; }

 protected:
  Step(int64_t units, int64_t work, int64_t scratch_bytes = 0)
      : units_(static_cast<int32_t>(units)), work_(work), scratch_bytes_(scratch_bytes) {}

 private:
  int32_t units_;
  int64_t work_, scratch_bytes_;
};

// Where tensors lie in this session. Each buffer is aligned to 64 and has kReadSlack readable bytes
// behind its end.
struct Buffers {
  std::byte* arena = nullptr;
  std::vector<std::byte*> inputs, outputs;
};

// What makes steps: an operator with all that it may refer to. Accessors of tensors and constants
// take a number that has been checked by Counts().
class Binding {
 public:
  Binding(const FileView& view, const Kernels& kernels, const Buffers& buffers,
          const file::Operator& op)
      : view_(view), kernels_(kernels), buffers_(buffers), op_(op) {}

  const Kernels& kernels() const { return kernels_; }
  // An error of this operator: its name and kind are put in front.
  Status Error(const std::string& what) const;
  // Whether the operator has so many references; inputs and constants are from and up to.
  Status Counts(int inputs, int outputs, int constants) const;
  template <typename T>
  Status Parameters(const T*& parameters) const {
    if (op_.parameters_bytes != sizeof(T)) {
      return Error("has " + std::to_string(op_.parameters_bytes) + " bytes of parameters, not " +
                   std::to_string(sizeof(T)));
    }
    parameters = reinterpret_cast<const T*>(view_.parameters.data() + op_.parameters);
    return {};
  }

  int input_count() const { return op_.input_count; }
  const file::Tensor& input(int i) const { return view_.tensors[view_.Inputs(op_)[i]]; }
  const file::Tensor& output(int i = 0) const { return view_.tensors[view_.Outputs(op_)[i]]; }
  // Whether a tensor is of this type; outputs must not be constants, either.
  Status Types(file::Type input, file::Type output) const;
  const std::byte* Read(const file::Tensor& tensor) const;
  std::byte* Write(const file::Tensor& tensor) const;

  // The constant's bytes in the packing of the running instruction set, at least `bytes` of them.
  Status Constant(int i, int64_t bytes, const void*& data) const;
  // All of it, for what checks its own size.
  std::span<const std::byte> ConstantBytes(int i) const;

 private:
  const FileView& view_;
  const Kernels& kernels_;
  const Buffers& buffers_;
  const file::Operator& op_;
};

// The packing of a constant for an instruction set; null if there is none.
const file::Constant* PackingFor(const FileView& view, uint32_t constant, Isa isa);

using StepMaker = Status (*)(const Binding& binding, std::unique_ptr<Step>& step);
// Null for a kind that the format does not have.
StepMaker MakerOf(uint16_t kind);
const char* KindName(uint16_t kind);

}  // namespace ds::engine
