// Tensor data kept beside a model file, as ONNX's "external data" does it. A model comes from
// anywhere, so the location it names is not trusted: only regular files inside the model's own
// folder are opened, and what a link in it points to in the blobs/ of the same download cache
// (REPOSITORY/snapshots/REVISION/... beside REPOSITORY/blobs/..., as Hugging Face's client lays it
// out).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor/tensor.h"

namespace ds::onnx_io {

struct ExternalRange {
  std::string location;  // relative to the model's folder
  int64_t offset = 0;    // bytes
  int64_t length = -1;   // bytes; -1: as many as the tensor has
};

// Not thread-safe.
class ExternalData {
 public:
  // `folder`: where the model lies; empty refuses all external data (a model that came from
  // memory). `copy` false: tensors that would have to be copied have type and shape only.
  explicit ExternalData(std::string folder, bool copy = true)
      : folder_(std::move(folder)), copy_(copy) {}

  // Another over the same folder, which copies.
  ExternalData Reading() const { return ExternalData(folder_); }

  // A tensor over the file's bytes: mapped copy-on-write where they are aligned for that, else
  // copied. InvalidArgument: the location leaves the folder, the range leaves the file, the length
  // is not what dtype and shape need. NotFound: no such file.
  absl::StatusOr<Tensor> Read(const ExternalRange& range, DType dtype, const Shape& shape);

 private:
  struct File;
  absl::StatusOr<std::shared_ptr<File>> Open(const std::string& location);

  std::string folder_;
  bool copy_;
  std::map<std::string, std::shared_ptr<File>> files_;
};

}  // namespace ds::onnx_io
