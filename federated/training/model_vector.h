// Between a module's tensors and the flat vector that a round is about, slot by slot, each tensor
// in its logical order whatever its strides.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "executor/graph_module.h"
#include "federated/update/global_model.h"

namespace ds::federated {

// Both walk `layout`'s slots; those that `module` lacks are left as they are.
void Gather(const GraphModule& module, const ModelLayout& layout, absl::Span<float> into);
void Scatter(absl::Span<const float> from, const ModelLayout& layout, const GraphModule& module);

// InvalidArgument naming the slot and the place in it of the first NaN or Inf.
absl::Status CheckFinite(absl::Span<const float> values, const ModelLayout& layout,
                         absl::string_view what);

}  // namespace ds::federated
