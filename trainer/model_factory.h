// From a model section and the data's shape to a graph that can be trained on that data.
#pragma once

#include "absl/status/statusor.h"
#include "graph/graph.h"
#include "trainer/config/train_config.h"
#include "trainer/data/dataset.h"

namespace ds {

// A zoo or plugin model by name, sized by the data where the section says nothing, or an ONNX file to fine-tune: its batch
// is made dynamic and its head replaced when the classes differ. InvalidArgument when model and data do not fit, naming
// both shapes and what to change.
absl::StatusOr<Graph> MakeModel(const ModelConfig& config, const DatasetInfo& data, uint64_t seed);

// Makes the first extent of the first input dynamic, and with it Reshape targets that had it written out. No-op if it is
// dynamic already.
absl::Status MakeBatchDynamic(Graph& graph);

}  // namespace ds
