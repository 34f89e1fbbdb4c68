// A model of a .dsm file: mapped, verified, immutable. Any number of sessions run it, each with its
// own activations; all of them, and all processes that open the file, share its weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "deploy/engine/runtime/file_view.h"
#include "deploy/engine/runtime/kernels/kernels.h"
#include "deploy/engine/runtime/mapped_file.h"
#include "deploy/engine/runtime/status.h"

namespace ds::engine {

struct ModelOptions {
  // Also hash the weights, which reads all of them: for a file that came over a network. The tables
  // are always hashed.
  bool verify_weights = false;
  // Bring the whole file into memory at once (a millisecond for 30 MB that the system has cached),
  // so that the first run is as fast as the others; without, pages come as they are touched.
  bool populate = true;
  // As DS_ISA has it (IsaName() of kernels/kernels.h); empty: DS_ISA where it is set, otherwise the
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

  const FileView& view() const { return view_; }
  const Kernels& kernels() const { return *kernels_; }

 private:
  Status Verify(std::span<const std::byte> bytes, const ModelOptions& options);

  MappedFile file_;
  FileView view_;
  const Kernels* kernels_ = nullptr;
};

}  // namespace ds::engine
