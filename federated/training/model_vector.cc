#include "federated/training/model_vector.h"

#include <cmath>
#include <map>

#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"

namespace ds::federated {
namespace {

// Calls `visit(tensor, offset)` for each slot that `module` has.
template <typename Visit>
void ForEach(const GraphModule& module, const ModelLayout& layout, Visit visit) {
  std::map<std::string, const at::Tensor*> tensors;
  for (const NamedTensor& parameter : module.parameters())
    tensors[parameter.name] = &parameter.tensor;
  for (const NamedTensor& buffer : module.buffers()) tensors[buffer.name] = &buffer.tensor;
  const at::NoGradGuard no_grad;
  int64_t offset = 0;
  for (const ModelSlot& slot : layout.slots) {
    if (const auto found = tensors.find(slot.name);
        found != tensors.end() && found->second->scalar_type() == at::kFloat)
      visit(*found->second, offset);
    offset += slot.count;
  }
}

}  // namespace

void Gather(const GraphModule& module, const ModelLayout& layout, absl::Span<float> into) {
  ForEach(module, layout, [&](const at::Tensor& tensor, int64_t offset) {
    at::from_blob(into.data() + offset, tensor.sizes(), at::kFloat).copy_(tensor);
  });
}

void Scatter(absl::Span<const float> from, const ModelLayout& layout, const GraphModule& module) {
  ForEach(module, layout, [&](const at::Tensor& tensor, int64_t offset) {
    // Only read.
    float* const values = const_cast<float*>(from.data() + offset);
    at::Tensor target = tensor;
    target.copy_(at::from_blob(values, tensor.sizes(), at::kFloat));
  });
}

absl::Status CheckFinite(absl::Span<const float> values, const ModelLayout& layout,
                         absl::string_view what) {
  size_t i = 0;
  for (const ModelSlot& slot : layout.slots) {
    for (int64_t k = 0; k < slot.count; ++k, ++i) {
      if (std::isfinite(values[i])) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          what, ": '", slot.name, "' is ", values[i], " at element ", k,
          "; the training has diverged at this site: lower optimizer.learning_rate or set "
          "optimizer.clip_norm in the task"));
    }
  }
  return absl::OkStatus();
}

}  // namespace ds::federated
