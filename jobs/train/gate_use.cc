#include "jobs/train/gate_use.h"

#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "executor/graph_module.h"
#include "graph/schema/schema.h"
#include "prune/channel_gates.h"
#include "trainer/evaluate.h"

namespace ds {
namespace {

// Counts, batch by batch, from the gates' saliencies.
class Counter {
 public:
  Counter(const std::vector<ChannelGate>& gates, const GatedCost& cost)
      : cost_(cost), closed_(gates.size()), shut_(gates.size()) {
    for (size_t g = 0; g < gates.size(); ++g) {
      index_[gates[g].saliency] = g;
      shut_[g].resize(static_cast<size_t>(gates[g].channels));
    }
  }

  void Observe(ValueId id, const at::Tensor& value) {
    const auto found = index_.find(id);
    if (found == index_.end()) return;
    closed_[found->second] = value.eq(0).flatten(1).contiguous();
    if (++seen_ == index_.size()) CountBatch();
  }

  GateUse Use() const {
    double gates = 0, zeros = 0, always = 0, never = 0;
    for (const std::vector<int64_t>& channels : shut_) {
      for (const int64_t images : channels) {
        gates += 1;
        zeros += static_cast<double>(images);
        always += images == images_ ? 1 : 0;
        never += images == 0 ? 1 : 0;
      }
    }
    return {.zero_share = zeros / (gates * static_cast<double>(images_)),
            .always_shut = always / gates,
            .never_shut = never / gates,
            .macs = static_cast<double>(cost_.whole()),
            .macs_needed = needed_ / static_cast<double>(images_)};
  }

 private:
  void CountBatch() {
    seen_ = 0;
    const int64_t images = closed_[0].size(0);
    OpenChannels open(closed_.size());
    for (int64_t n = 0; n < images; ++n) {
      for (size_t g = 0; g < closed_.size(); ++g) {
        const auto channels = static_cast<size_t>(closed_[g].size(1));
        const bool* row = closed_[g].data_ptr<bool>() + n * closed_[g].size(1);
        open[g].resize(channels);
        for (size_t c = 0; c < channels; ++c) {
          open[g][c] = !row[c];
          shut_[g][c] += row[c] ? 1 : 0;
        }
      }
      needed_ += static_cast<double>(cost_.Needed(open));
    }
    images_ += images;
  }

  const GatedCost& cost_;
  std::map<ValueId, size_t> index_;
  std::vector<at::Tensor> closed_;          // by gate: bool [N, C] of the batch under way
  std::vector<std::vector<int64_t>> shut_;  // by gate and channel: images for which it was 0
  size_t seen_ = 0;
  int64_t images_ = 0;
  double needed_ = 0;
};

}  // namespace

absl::StatusOr<GateUse> MeasureGateUse(Graph graph, const LossOptions& options,
                                       DataLoader& loader) {
  DS_RETURN_IF_ERROR(InferShapes(graph));
  const std::vector<ChannelGate> gates = FindChannelGates(graph);
  if (gates.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the model '", graph.name, "' has no channel gates to measure"));
  }
  DS_ASSIGN_OR_RETURN(const GatedCost cost, GatedCost::Create(graph, gates));
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<GraphModule> module,
                      GraphModule::Create(std::move(graph)));
  Counter counter(gates, cost);
  module->set_value_observer(
      [&counter](ValueId id, const at::Tensor& value) { counter.Observe(id, value); });
  DS_ASSIGN_OR_RETURN(const Loss loss, Loss::ForModel(options, module->graph()));
  DS_RETURN_IF_ERROR(Evaluate(*module, loss, loader).status());
  return counter.Use();
}

}  // namespace ds
