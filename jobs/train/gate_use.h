// What gates save on given data, if closed channels are not computed.
#pragma once

#include "absl/status/statusor.h"
#include "data/loader.h"
#include "graph/graph.h"
#include "trainer/optim/options.h"

namespace ds {

struct GateUse {
  double zero_share = 0;   // of all gates, over all images
  double always_shut = 0;  // share of gates that are 0 for every image
  double never_shut = 0;   // and for none; what is left depends on the image
  double macs = 0;         // multiply-accumulates of an image without gates
  double macs_needed = 0;  // mean over images: of open channels, and of the gates' own layers
};

// Runs `graph` in evaluation mode over all of the loader's batches, image by image, with the loss
// of `options`. InvalidArgument if it has no gates, or the data holds nothing.
absl::StatusOr<GateUse> MeasureGateUse(Graph graph, const LossOptions& options, DataLoader& loader);

}  // namespace ds
