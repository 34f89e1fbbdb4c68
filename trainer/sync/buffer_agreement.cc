#include "trainer/sync/buffer_agreement.h"

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/status.h"

namespace ds {
namespace {

// The tensor's elements in memory order.
template <typename T>
absl::Span<T> Elements(const at::Tensor& tensor) {
  return {static_cast<T*>(tensor.data_ptr()), static_cast<size_t>(tensor.numel())};
}

template <typename T>
void Append(const at::Tensor& tensor, std::vector<double>& sums) {
  for (const T value : Elements<T>(tensor)) sums.push_back(static_cast<double>(value));
}

template <typename T>
const double* Fill(const double* sums, int ranks, const at::Tensor& tensor) {
  for (T& value : Elements<T>(tensor)) value = static_cast<T>(*sums++ / ranks);
  return sums;
}

}  // namespace

absl::Status AgreeOnTensors(const std::vector<NamedTensor>& tensors, Communicator& communicator) {
  if (communicator.size() == 1) return absl::OkStatus();
  std::vector<double> sums;
  std::vector<NamedTensor> counted;
  for (const NamedTensor& entry : tensors) {
    if (entry.tensor.scalar_type() == at::kFloat) {
      Append<float>(entry.tensor, sums);
    } else if (entry.tensor.scalar_type() == at::kDouble) {
      Append<double>(entry.tensor, sums);
    } else {
      counted.push_back(entry);
    }
  }
  DS_RETURN_IF_ERROR(BroadcastTensors(counted, communicator));
  DS_RETURN_IF_ERROR(
      Annotate(communicator.AllReduce(MutableBuffer::Of(absl::MakeSpan(sums)), ReduceOp::kSum),
               "averaging the batch norms' statistics"));
  const double* sum = sums.data();
  for (const NamedTensor& entry : tensors) {
    if (entry.tensor.scalar_type() == at::kFloat) {
      sum = Fill<float>(sum, communicator.size(), entry.tensor);
    } else if (entry.tensor.scalar_type() == at::kDouble) {
      sum = Fill<double>(sum, communicator.size(), entry.tensor);
    }
  }
  return absl::OkStatus();
}

absl::Status BroadcastTensors(const std::vector<NamedTensor>& tensors, Communicator& communicator) {
  for (const NamedTensor& entry : tensors) {
    const absl::Span<std::byte> bytes(static_cast<std::byte*>(entry.tensor.data_ptr()),
                                      entry.tensor.nbytes());
    DS_RETURN_IF_ERROR(
        Annotate(communicator.Broadcast(bytes, 0), absl::StrCat("broadcasting ", entry.name)));
  }
  return absl::OkStatus();
}

}  // namespace ds
