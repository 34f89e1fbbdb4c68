// Trains LeNet on drawn pictures with MixedPrecisionTrainer and writes it as ONNX.
//
//   train OUTPUT.onnx
#include <cstdio>
#include <iostream>
#include <string>

#include "base/status.h"
#include "data/loader.h"
#include "data/sets/open_dataset.h"
#include "graph/onnx/onnx.h"
#include "graph/zoo/zoo.h"
#include "trainer/mixed_precision_trainer.h"

namespace {

absl::StatusOr<std::unique_ptr<ds::DataLoader>> Pictures(const std::string& split, bool shuffle) {
  DS_ASSIGN_OR_RETURN(auto data, ds::OpenDataset({.type = "synthetic",
                                                  .split = split,
                                                  .channels = 1,
                                                  .height = 28,
                                                  .width = 28,
                                                  .classes = 4,
                                                  .size = 512}));
  return ds::DataLoader::Create(data, {.batch_size = 32, .shuffle = shuffle});
}

absl::Status Train(const std::string& output) {
  DS_ASSIGN_OR_RETURN(
      ds::Graph graph,
      ds::BuildModel("lenet", {.channels = 1, .height = 28, .width = 28, .classes = 4}));
  DS_ASSIGN_OR_RETURN(auto model, ds::GraphModule::Create(std::move(graph)));
  DS_ASSIGN_OR_RETURN(
      auto optimizer,
      ds::Optimizer::Create(model->parameters(), {.name = "adamw", .learning_rate = 1e-3}));
  DS_ASSIGN_OR_RETURN(auto loss, ds::Loss::Create({}));
  DS_ASSIGN_OR_RETURN(auto training, Pictures("train", /*shuffle=*/true));
  DS_ASSIGN_OR_RETURN(auto test, Pictures("test", /*shuffle=*/false));

  ds::MixedPrecisionTrainer trainer(*model, *optimizer, loss, {.precision = "auto"});
  DS_ASSIGN_OR_RETURN(ds::TrainResult result, trainer.train(*training, /*epochs=*/3));
  DS_ASSIGN_OR_RETURN(ds::Evaluation evaluation, trainer.evaluate(*test));
  std::printf("%lld steps, accuracy %.3f\n", static_cast<long long>(result.steps),
              evaluation.metric());
  return ds::ExportOnnx(model->ExportGraph(), output);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: train OUTPUT.onnx\n";
    return 2;
  }
  const absl::Status status = Train(argv[1]);
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
