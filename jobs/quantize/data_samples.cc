#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "jobs/calibration_samples.h"
#include "jobs/data/data_setup.h"
#include "jobs/model_factory.h"
#include "jobs/quantize/sample_source.h"
#include "trainer/batch_tensors.h"
#include "trainer/input_binding.h"

namespace ds {
namespace {

class DataSamples final : public SampleSource {
 public:
  static absl::StatusOr<std::unique_ptr<SampleSource>> Create(TrainConfig& config,
                                                              const std::string& model) {
    auto source = std::unique_ptr<DataSamples>(new DataSamples());
    DS_ASSIGN_OR_RETURN(source->splits_, OpenSplits(config));
    SayNotes(source->splits_);
    const DatasetInfo& info = source->splits_.train->info();
    DS_ASSIGN_OR_RETURN(source->graph_, LoadAsItIs(model, info, &source->notes_));
    if (RunsSingly(source->graph_, info)) config.data.test_batch_size = 1;
    DS_ASSIGN_OR_RETURN(source->calibration_,
                        MakeLoader(config, source->splits_.train, DataUse::kCalibrate));
    DS_ASSIGN_OR_RETURN(source->test_, MakeLoader(config, source->splits_.test, DataUse::kTest));
    source->config_ = config;
    source->description_ =
        absl::StrCat(info.size, " training and ", source->splits_.test->info().size,
                     " test samples (", config.data.set.type, ")");
    return source;
  }

  const Graph& graph() const override { return graph_; }

  absl::StatusOr<CalibrationData> Calibration(int64_t samples) override {
    DS_RETURN_IF_ERROR(calibration_->StartEpoch(0));
    return FirstSamples(*calibration_, graph_, samples);
  }

  absl::StatusOr<TestBatches> HeldOut(int64_t samples, int64_t count) override {
    if (held_out_ == nullptr) {
      DS_ASSIGN_OR_RETURN(held_out_, MakeLoader(config_, splits_.train, DataUse::kCalibrate));
    }
    const int64_t batch = held_out_->options().batch_size;
    const int64_t first = (samples + batch - 1) / batch;
    if (first >= held_out_->batches_per_epoch()) {
      return absl::InvalidArgumentError(
          "calibration takes all of the training split: nothing is left to measure an accuracy "
          "budget on; give fewer samples");
    }
    DS_RETURN_IF_ERROR(held_out_->StartEpoch(0, first));
    return Batches(*held_out_, (count + batch - 1) / batch);
  }

  absl::StatusOr<TestBatches> Test() override {
    DS_RETURN_IF_ERROR(test_->StartEpoch(0));
    return Batches(*test_, test_->batches_per_epoch());
  }

  int64_t test_batches() const override { return test_->batches_per_epoch(); }

  const std::vector<std::string>& notes() const override { return notes_; }

  std::string Describe() const override { return description_; }

 private:
  TestBatches Batches(DataLoader& loader, int64_t count) const {
    return [&loader, this, left = count]() mutable -> absl::StatusOr<std::optional<TestBatch>> {
      while (left-- > 0) {
        DS_ASSIGN_OR_RETURN(const std::optional<Batch> batch, loader.Next());
        if (!batch.has_value()) break;
        if (batch->size() == 0) continue;
        TestBatch out;
        // The batch's memory goes back to the loader.
        DS_ASSIGN_OR_RETURN(out.inputs, InputsToTorch(*batch, graph_));
        for (at::Tensor& input : out.inputs) input = input.clone();
        if (batch->targets.has_value()) {
          DS_ASSIGN_OR_RETURN(const at::Tensor targets, TargetsToTorch(*batch));
          out.targets = targets.clone();
        }
        return out;
      }
      return std::nullopt;
    };
  }

  TrainConfig config_;
  DataSplits splits_;
  Graph graph_;
  std::unique_ptr<DataLoader> calibration_, test_, held_out_;
  std::string description_;
  std::vector<std::string> notes_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<SampleSource>> SamplesOfData(TrainConfig& config,
                                                            const std::string& model) {
  return DataSamples::Create(config, model);
}

}  // namespace ds
