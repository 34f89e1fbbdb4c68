// One side of bench/train_vs_pytorch.py: trains a zoo model on a fixed batch and answers on stdout.
//
//   train_step_bench MODEL BATCH SIDE PRECISION THREADS EXPORT_FILE INPUT_FILE
//
// Writes the initial model to EXPORT_FILE (ONNX), reads `inputs` [N, C, H, W] and `labels` [N] from
// INPUT_FILE (safetensors; waits for the line "start"), then for each line "run K" does K steps and
// prints "<seconds> <loss of the last step>".
#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>
#include <string>

#include "ATen/Parallel.h"
#include "base/status.h"
#include "base/tensor/safetensors.h"
#include "executor/memory.h"
#include "graph/onnx/onnx.h"
#include "graph/zoo/zoo.h"
#include "trainer/mixed_precision_trainer.h"
#include "trainer/optim/auto_precision.h"

namespace ds {
namespace {

absl::Status Run(char** argv) {
  const int64_t side = std::stoll(argv[3]);
  KeepFreedMemory();
  at::set_num_threads(std::stoi(argv[5]));
  DS_ASSIGN_OR_RETURN(Graph graph,
                      BuildModel(argv[1], {.channels = 1, .height = side, .width = side}));
  DS_RETURN_IF_ERROR(ExportOnnx(graph, argv[6]));
  DS_ASSIGN_OR_RETURN(std::unique_ptr<GraphModule> module, GraphModule::Create(std::move(graph)));
  DS_ASSIGN_OR_RETURN(std::unique_ptr<Optimizer> optimizer,
                      Optimizer::Create(module->parameters(), {.learning_rate = 0.01}));
  DS_ASSIGN_OR_RETURN(Loss loss, Loss::Create({}));
  MixedPrecisionTrainer trainer(*module, *optimizer, loss, {.precision = argv[4]});
  std::cout << "ready" << std::endl;
  Batch batch;
  for (std::string word; std::cin >> word;) {
    if (word == "start") {
      using Tensors = std::map<std::string, Tensor>;
      DS_ASSIGN_OR_RETURN(Tensors tensors, ReadSafetensors(argv[7]));
      batch = {
          .inputs = {{"", tensors["inputs"]}}, .targets = tensors["labels"], .channels_last = true};
      DS_RETURN_IF_ERROR(trainer.Prepare(batch));
      std::cout << PrecisionName(module->precision()) << std::endl;
      continue;
    }
    int steps = 0;
    std::cin >> steps;
    StepReport report;
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < steps; ++i) {
      DS_ASSIGN_OR_RETURN(report, trainer.Step({batch}, batch.size()));
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::printf("%.6f %.6f\n", seconds.count(), report.loss);
    std::fflush(stdout);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace ds

int main(int argc, char** argv) {
  if (argc != 8) {
    std::fprintf(
        stderr,
        "usage: train_step_bench MODEL BATCH SIDE PRECISION THREADS EXPORT_FILE INPUT_FILE\n");
    return 2;
  }
  const absl::Status status = ds::Run(argv);
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
