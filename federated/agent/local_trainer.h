// A site's training of one round, behind a seam: LibTorch's in federated/training/, made-up ones in
// tests, the simulation and benchmarks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "federated/update/global_model.h"
#include "federated/wire/messages.h"

namespace ds::federated {

struct LocalModel {
  ModelLayout layout;
  std::vector<float> weights;  // version 0
  int64_t samples = 0;         // of the site's training data
};

struct TrainedUpdate {
  std::vector<float>
      delta;  // trained minus given; scaffold: then the change of the control variates
  SiteMetrics metrics;
};

class LocalTrainer {
 public:
  virtual ~LocalTrainer() = default;
  // Once, before anything else. `model_file`: the offer's ONNX file.
  virtual absl::StatusOr<LocalModel> Open(const RunOffer& offer, const std::string& model_file) = 0;
  // Trains from `weights` as offer.task and strategy say; the same (weights, round) gives the same
  // bits. `control`, `own_control`: scaffold's variates, else empty.
  virtual absl::StatusOr<TrainedUpdate> Train(int64_t round, absl::Span<const float> weights,
                                              absl::Span<const float> control,
                                              absl::Span<const float> own_control) = 0;
  // The Train that is under way is not wanted any more: it may end with Cancelled, soon. Without
  // one, nothing. Any thread.
  virtual void Interrupt() {}
};

}  // namespace ds::federated
