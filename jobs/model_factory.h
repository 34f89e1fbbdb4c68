// From a model section and the data's shape to a graph that can be trained on that data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/dataset.h"
#include "graph/graph.h"
#include "jobs/config/train_config.h"

namespace ds {

// A zoo or plugin model by name, sized by the data where the section says nothing, or an ONNX file
// to fine-tune: its batch is made dynamic and its head replaced when the classes differ.
// What trains is chosen by `config.freeze` and `config.train`. InvalidArgument when model and data
// do not fit, naming both shapes and what to change. `notes`, where given: what import does
// otherwise than the file says (OnnxImportOptions).
absl::StatusOr<Graph> MakeModel(const ModelConfig& config, const DatasetInfo& data, uint64_t seed,
                                std::vector<std::string>* notes = nullptr);

// The model section for a trained file that is to be worked on as it is: MakeModel would give a
// network with other classes than the data's a new classifier. InvalidArgument: not one input, or
// fewer classes than the data has.
absl::StatusOr<ModelConfig> ModelAsItIs(const std::string& path, int64_t data_classes);

// A file that is quantised as it is, whatever its inputs and outputs: its batch is made dynamic.
// InvalidArgument where it does not take the data, or is a classifier (one output of two axes) of
// fewer classes than the data has. `notes`: what the import has to say, added.
absl::StatusOr<Graph> LoadAsItIs(const std::string& path, const DatasetInfo& data,
                                 std::vector<std::string>* notes = nullptr);

}  // namespace ds
