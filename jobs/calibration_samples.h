// Training images for a calibration.
#pragma once

#include <cstdint>

#include "data/loader.h"
#include "quant/torch/quantizer.h"

namespace ds {

// The first `samples` of the loader's epoch, in its batches, the last one cut; fewer where there
// are fewer; what `graph` takes of them, in its order. `loader` and `graph` must outlive what comes
// back, and StartEpoch is the caller's.
CalibrationData FirstSamples(DataLoader& loader, const Graph& graph, int64_t samples);

}  // namespace ds
