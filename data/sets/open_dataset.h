// A data set by its type's name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/dataset.h"

namespace ds {

// NotFound says where it was looked for and how to get it; DataLoss for damaged files (what, file,
// byte offset).
absl::StatusOr<std::shared_ptr<const Dataset>> OpenDataset(const DatasetOptions& options);

// The usual places of a type of data set, relative ones to the working folder, in the order they
// are tried.
std::vector<std::string> DatasetSearchPath(absl::string_view type);

}  // namespace ds
