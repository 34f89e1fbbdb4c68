#include "codec/cuda/codec_cuda.h"

namespace ds {

absl::StatusOr<std::unique_ptr<CudaCodec>> CudaCodec::Create(const CodecOptions&) {
  return absl::UnavailableError(
      "this program was built without CUDA: configure with -DDS_ENABLE_CUDA=ON");
}

}  // namespace ds
