// A flat vector of weights and its layout as one safetensors file: tensor "weights" [n], and in the
// metadata "layout" the slots as JSON, [["conv1.weight", 432, "parameter"], ...]. What
// ds_aggregator, which links no LibTorch, and its evaluator hand to each other.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "federated/update/global_model.h"

namespace ds::federated {

struct FlatModel {
  ModelLayout layout;
  std::vector<float> weights;
};

// Written atomically. weights.size() == layout.size().
absl::Status WriteFlatModel(const std::string& path, const ModelLayout& layout,
                            absl::Span<const float> weights);
// DataLoss where the file is no such one: names it and what is wrong.
absl::StatusOr<FlatModel> ReadFlatModel(const std::string& path);

}  // namespace ds::federated
