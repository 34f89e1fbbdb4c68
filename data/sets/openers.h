// What OpenDataset dispatches to, one function a type of data set, and the checks that all of them
// share. Private to data/sets.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/dataset_checks.h"

namespace ds {

using DatasetPtr = std::shared_ptr<const Dataset>;

absl::StatusOr<DatasetPtr> OpenIdx(const DatasetOptions& options);
absl::StatusOr<DatasetPtr> OpenCifar(const DatasetOptions& options, int classes);
absl::StatusOr<DatasetPtr> OpenImageFolder(const DatasetOptions& options);
absl::StatusOr<DatasetPtr> OpenText(const DatasetOptions& options);
absl::StatusOr<DatasetPtr> OpenSynthetic(const DatasetOptions& options);

// Data sets whose samples are tensors, and neither images nor text.
class OnlyTensors : public Dataset {
 public:
  absl::Status ReadImage(int64_t, absl::Span<uint8_t>, int64_t*) const final {
    return WrongKind(info().kind, SampleKind::kImage);
  }
  absl::Status ReadText(int64_t, absl::Span<int64_t>) const final {
    return WrongKind(info().kind, SampleKind::kText);
  }
};

absl::StatusOr<DatasetPtr> OpenTensors(const DatasetOptions& options);
absl::StatusOr<DatasetPtr> OpenCsv(const DatasetOptions& options);

// The rows of 0..size-1 that are the split's where the data has no splits of its own: a share of
// options.validation_fraction is held out, drawn by the same numbers for all; ascending. `place`
// names the data in messages.
absl::StatusOr<std::vector<int64_t>> RowsOfSplit(int64_t size, const DatasetOptions& options,
                                                 absl::string_view place);

// Images and labels that all fit in memory, [size, C, H, W] bytes.
DatasetPtr MakeInMemoryImages(DatasetInfo info, std::vector<uint8_t> pixels,
                              std::vector<uint8_t> labels);

// The places to look at: options.path alone, or the search path.
std::vector<std::string> Places(const DatasetOptions& options);

// NotFound: what was wanted, each place that was tried, and `advice` on how to get it.
absl::Status MissingData(absl::string_view what, const std::vector<std::string>& tried,
                         absl::string_view advice);

}  // namespace ds
