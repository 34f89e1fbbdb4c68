#include "trainer/batch_tensors.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "executor/graph_module.h"
#include "trainer/input_binding.h"

namespace ds {
namespace {

at::Tensor ImagesToTorch(const Batch& batch, const Graph& graph) {
  const Tensor& values = batch.inputs[0].values;
  at::Tensor tensor = ToTorch(values);
  if (values.rank() != 4) return tensor;
  if (batch.channels_last) {
    // The bytes lie as NHWC under a shape of NCHW.
    const int64_t c = tensor.size(1), h = tensor.size(2), w = tensor.size(3);
    tensor = tensor.as_strided(tensor.sizes(), {c * h * w, 1, w * c, c});
  }
  if (!WantsChannelsLast(graph, values.shape())) return tensor;
  return tensor.permute({0, 2, 3, 1}).contiguous();
}

absl::StatusOr<at::Tensor> Converted(const at::Tensor& tensor, DType have, const Value& wanted) {
  if (have == wanted.dtype) return tensor;
  if (!TypeFits(have, wanted.dtype)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "input '", wanted.name, "' is ", Name(wanted.dtype), " and the batch has ", Name(have)));
  }
  const at::Tensor converted = tensor.to(ToTorch(Tensor(wanted.dtype, {0})).scalar_type());
  if (IsFloatingPoint(wanted.dtype) || converted.to(tensor.scalar_type()).equal(tensor))
    return converted;
  return absl::OutOfRangeError(absl::StrCat("input '", wanted.name, "': the data's ", Name(have),
                                            " hold a number that the model's ", Name(wanted.dtype),
                                            " cannot; look for it in the array"));
}

// Of a batch of one, the input as the model takes it.
absl::StatusOr<at::Tensor> Whole(const Tensor& values, const Value& wanted) {
  if (values.dim(0) == 1) return ToTorch(values).squeeze(0);
  return absl::InvalidArgumentError(
      absl::StrCat("input '", wanted.name, "' has no axis for samples in front and the batch has ",
                   values.dim(0), "; set data.batch_size and data.test_batch_size to 1"));
}

}  // namespace

absl::StatusOr<std::vector<at::Tensor>> InputsToTorch(const Batch& batch, const Graph& graph) {
  std::vector<std::string> names;
  for (const BatchInput& input : batch.inputs) names.push_back(input.name);
  DS_ASSIGN_OR_RETURN(const std::vector<size_t> order, BindInputs(graph, names));
  const bool images = batch.inputs.size() == 1 && names[0].empty();
  std::vector<at::Tensor> tensors;
  for (size_t i = 0; i < order.size(); ++i) {
    const Tensor& values = batch.inputs[order[i]].values;
    const Value& wanted = graph.value(graph.inputs()[i]);
    at::Tensor tensor = images ? ImagesToTorch(batch, graph) : ToTorch(values);
    if (!images && IsWholeSample(wanted, values.rank())) {
      DS_ASSIGN_OR_RETURN(tensor, Whole(values, wanted));
    }
    DS_ASSIGN_OR_RETURN(tensors.emplace_back(), Converted(tensor, values.dtype(), wanted));
  }
  return tensors;
}

absl::StatusOr<at::Tensor> TargetsToTorch(const Batch& batch) {
  if (batch.targets.has_value()) return ToTorch(*batch.targets);
  return absl::InvalidArgumentError(
      "the data has no labels: add labels.npy (or an array 'labels') beside its inputs");
}

}  // namespace ds
