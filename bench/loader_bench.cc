// Images a second of the data loader, for bench/loader.py: read, decode, RandomResizedCrop, flip,
// normalise.
//   loader_bench FOLDER SIDE BATCH
// reads "N" lines from stdin and answers each with the seconds that N batches took.
#include <chrono>
#include <cstdio>
#include <iostream>
#include <string>

#include "absl/status/status.h"
#include "base/status.h"
#include "data/loader.h"
#include "data/sets/open_dataset.h"

namespace ds {
namespace {

absl::Status Run(char** argv) {
  DS_ASSIGN_OR_RETURN(
      const auto data,
      OpenDataset({.type = "images", .path = argv[1], .image_size = std::stoll(argv[2])}));
  DS_ASSIGN_OR_RETURN(
      const std::unique_ptr<DataLoader> loader,
      DataLoader::Create(data, {.batch_size = std::stoll(argv[3]),
                                .augment = {.horizontal_flip = true, .resized_crop = 0.08},
                                .mean = {0.485, 0.456, 0.406},
                                .stddev = {0.229, 0.224, 0.225}}));
  std::cout << "ready" << std::endl;
  int64_t epoch = 0;
  DS_RETURN_IF_ERROR(loader->StartEpoch(epoch));
  for (int64_t batches = 0; std::cin >> batches;) {
    const auto start = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < batches;) {
      DS_ASSIGN_OR_RETURN(const std::optional<Batch> batch, loader->Next());
      if (batch.has_value()) {
        ++i;
        continue;
      }
      DS_RETURN_IF_ERROR(loader->StartEpoch(++epoch));
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    std::printf("%.6f\n", seconds.count());
    std::fflush(stdout);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace ds

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: loader_bench FOLDER SIDE BATCH\n");
    return 2;
  }
  const absl::Status status = ds::Run(argv);
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
