// A graph in training with what the integers will do to it: each weight and activation of a plan
// goes through LSQ's fake quantisation (quant/torch/lsq.h), its step a parameter like any other.
// What is quantised where is decided by deploy's own placement (deploy/qdq/placement.h), so that
// the exported file computes what was trained. Biases are rounded as they will be, to multiples of
// input step * weight step, straight through. Batch norms stay live, and are folded only in what is
// exported (live_norms.h).
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "executor/graph_module.h"
#include "graph/graph.h"
#include "quant/quant_plan.h"

namespace ds {

// Bits of weights and of activations, 2..8; the first and the last layer's weights and inputs have
// `end` if that is more, activations that only additions read `sums`.
struct QatBits {
  int weights = 4;
  int activations = 4;
  int end = 8;
  int sums = 8;
};

// Beside what GraphModule says: parameters() has "<name>.step" of each quantised weight ([output
// channels]) and value ([1]) too, which PutInRange keeps at or above kLeastStep, as it does the
// batch norms' gammas; so does the beginning of a pass or an export, for weights that came from
// elsewhere. buffers() has "<value>.zero_point" (int32 [1], fixed); ExportGraph has its batch norms
// folded and its weights rounded already, and activations in float.
class QatModule : public GraphModule {
 public:
  static constexpr float kLeastStep = 1e-6f;

  // `model`: the float graph; `folded`: the same with its batch norms folded, and `plan` of it, as
  // the Quantizer makes both. Steps of weights start at LSQ's initial step, those of 8 bits and of
  // activations at the plan's scale. Weights of fewer than 8 bits use the whole signed range, as in
  // LSQ's paper. InvalidArgument: a plan that does not fit, or with groups of weights (a channel
  // has one step). Unimplemented: as of FindLiveNorms and GraphModule::Create.
  static absl::StatusOr<std::unique_ptr<QatModule>> Create(const Graph& model, const Graph& folded,
                                                           const QuantPlan& plan);

  // The plan with the steps as they are now: with ExportGraph(), what exporters take.
  virtual QuantPlan Plan() const = 0;
  // Only the types: steps and zero points are what they were (a checkpoint's, say).
  virtual void set_bits(const QatBits& bits) = 0;
  // To other bits in mid-training: steps of weights start anew, those of activations grow as LSQ's
  // initial step does, by sqrt(old type.max() / new type.max()), and zero points move with the
  // range.
  virtual void ChangeBits(const QatBits& bits) = 0;
};

}  // namespace ds
