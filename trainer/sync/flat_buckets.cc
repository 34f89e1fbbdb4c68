#include "trainer/sync/flat_buckets.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "trainer/sync/bucket_plan.h"

namespace ds {
namespace {

absl::Status CheckParameters(const GraphModule& module) {
  for (const NamedTensor& parameter : module.parameters()) {
    if (parameter.tensor.scalar_type() != at::kFloat ||
        !parameter.tensor.is_non_overlapping_and_dense()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "parameter ", parameter.name, " is not a dense float32 tensor: it cannot be exchanged"));
    }
  }
  if (module.forward_order().size() != module.parameters().size()) {
    return absl::InvalidArgumentError("the module's forward order does not name every parameter");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Span<float> DenseMemory(const at::Tensor& tensor) {
  return {tensor.data_ptr<float>(), static_cast<size_t>(tensor.numel())};
}

absl::StatusOr<FlatBuckets> FlatBuckets::Create(const GraphModule& module, double bucket_mb) {
  if (!(bucket_mb > 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat("bucket_mb is ", bucket_mb, "; it must be above 0"));
  }
  if (absl::Status status = CheckParameters(module); !status.ok()) return status;
  std::vector<int64_t> sizes;
  for (const NamedTensor& parameter : module.parameters())
    sizes.push_back(parameter.tensor.numel());
  const double capacity = bucket_mb * (1 << 20) / sizeof(float);
  const BucketPlan plan = PlanBuckets(sizes, module.forward_order(),
                                      std::max<int64_t>(1, static_cast<int64_t>(capacity)));
  FlatBuckets made;
  try {
    for (int64_t size : plan.sizes) made.flat.push_back(at::zeros({size}, at::kFloat));
    for (size_t i = 0; i < sizes.size(); ++i) {
      const at::Tensor& parameter = module.parameters()[i].tensor;
      const at::Tensor& flat = made.flat[static_cast<size_t>(plan.bucket[i])];
      made.views.push_back(flat.as_strided(parameter.sizes(), parameter.strides(), plan.offset[i]));
    }
  } catch (const c10::Error& error) {
    return absl::InternalError(absl::StrCat("gradient buckets: ", error.what_without_backtrace()));
  }
  made.bucket = plan.bucket;
  return made;
}

std::vector<GradientBucket> FlatBuckets::Segments(const GraphModule& module) const {
  std::vector<GradientBucket> segments(flat.size());
  for (size_t i = 0; i < views.size(); ++i) {
    const NamedTensor& parameter = module.parameters()[i];
    segments[static_cast<size_t>(bucket[i])].push_back({.name = parameter.name,
                                                        .values = DenseMemory(views[i]),
                                                        .shape = parameter.tensor.sizes().vec()});
  }
  return segments;
}

}  // namespace ds
