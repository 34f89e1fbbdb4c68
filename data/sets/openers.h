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

// Images and labels that all fit in memory, [size, C, H, W] bytes.
DatasetPtr MakeInMemoryImages(DatasetInfo info, std::vector<uint8_t> pixels,
                              std::vector<uint8_t> labels);

// The places to look at: options.path alone, or the search path.
std::vector<std::string> Places(const DatasetOptions& options);

// NotFound: what was wanted, each place that was tried, and `advice` on how to get it.
absl::Status MissingData(absl::string_view what, const std::vector<std::string>& tried,
                         absl::string_view advice);

}  // namespace ds
