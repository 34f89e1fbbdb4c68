#include "trainer/batch_tensors.h"

#include "executor/graph_module.h"

namespace ds {

at::Tensor InputsToTorch(const Batch& batch) {
  at::Tensor tensor = ToTorch(batch.inputs);
  if (!batch.channels_last || tensor.dim() != 4) return tensor;
  // The bytes lie as NHWC under a shape of NCHW.
  const int64_t c = tensor.size(1), h = tensor.size(2), w = tensor.size(3);
  return tensor.as_strided(tensor.sizes(), {c * h * w, 1, w * c, c});
}

at::Tensor LabelsToTorch(const Batch& batch) { return ToTorch(batch.labels); }

}  // namespace ds
