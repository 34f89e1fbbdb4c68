// A model of a .dsm file: mapped, verified, immutable. Any number of sessions run it, each with its
// own activations; all of them, and all processes that open the file, share its weights. It runs in
// the shapes that the file has a plan for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "deploy/engine/runtime/file_view.h"
#include "deploy/engine/runtime/kernels/kernels.h"
#include "deploy/engine/runtime/mapped_file.h"
#include "deploy/engine/runtime/status.h"

namespace ds::engine {

struct ModelOptions {
  // Also hash the weights, which reads all of them: for a file that came over a network. The tables
  // are always hashed.
  bool verify_weights = false;
  // Bring the weights that the running instruction set reads into memory at once (a millisecond for
  // 30 MB that the system has cached), so that the first run is as fast as the others; without,
  // pages come as they are touched.
  bool populate = true;
  // "scalar", "avx2", "avx512vnni", as DS_ISA has it; empty: DS_ISA where it is set, otherwise the
  // fastest that the processor and the file have.
  std::string isa;
};

class Model {
 public:
  // Errors name the path, what is wrong with it and where.
  static Status Open(const std::string& path, const ModelOptions& options,
                     std::shared_ptr<const Model>& model);
  // Bytes of the caller's, 64-byte aligned, that outlive the model.
  static Status FromBytes(std::span<const std::byte> bytes, const ModelOptions& options,
                          std::shared_ptr<const Model>& model);

  // The file as its plan for a shape has it; the first one is what a session begins with.
  const FileView& view(int shape = 0) const { return plans_[static_cast<size_t>(shape)]; }
  int shape_count() const { return static_cast<int>(plans_.size()); }
  // The shape whose inputs have these extents, those of one input behind another's; -1: none.
  int FindShape(std::span<const uint32_t> dims) const;
  // The first shape in which the first input's first extent is this; -1: none.
  int FindBatch(uint32_t batch) const;
  // Every shape as text: "image [1, 3, 224, 224]", with "; " between them.
  std::string ShapesText() const;
  const Kernels& kernels() const { return *kernels_; }

 private:
  void Populate() const;
  Status Verify(std::span<const std::byte> bytes, const ModelOptions& options);

  MappedFile file_;
  std::vector<FileView> plans_;  // at least one
  const Kernels* kernels_ = nullptr;
};

}  // namespace ds::engine
