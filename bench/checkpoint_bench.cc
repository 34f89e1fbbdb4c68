// What a checkpoint costs: writes one of MEGABYTES (model and momentum, half each, in tensors of
// 4 MiB), reads it back and compares, REPEATS times; beside it, by turns, writes the same files
// without hashes, and hashes as many bytes alone.
//
//   checkpoint_bench [MEGABYTES=100] [REPEATS=5] [FOLDER=.]
//
// Prints the median of each, in ms and in MB/s (10^6 bytes), and each time over that of the files
// without hashes: what `write` has above 1 is the price of hashes, manifest and renaming.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/hash/sha256.h"
#include "base/median.h"
#include "base/random.h"
#include "base/status.h"
#include "base/tensor/safetensors.h"
#include "trainer/checkpoint/checkpoint.h"
#include "trainer/checkpoint/checkpoint_names.h"

namespace ds {
namespace {

constexpr int64_t kTensorBytes = 4 << 20;

Checkpoint Make(int64_t bytes) {
  Checkpoint checkpoint;
  CounterRandom random(1);
  const int64_t tensors = std::max<int64_t>(2, bytes / kTensorBytes);
  for (int64_t t = 0; t < tensors; ++t) {
    Tensor tensor(DType::kFloat32, {kTensorBytes / 4});
    for (float& value : tensor.mutable_span<float>())
      value = static_cast<float>(random.NextNormal());
    checkpoint.tensors[t % 2 == 0 ? "model" : "optimizer"][absl::StrCat("w", t)] = tensor;
  }
  return checkpoint;
}

bool Same(const Checkpoint& a, const Checkpoint& b) {
  for (const auto& [stem, tensors] : a.tensors) {
    for (const auto& [name, tensor] : tensors) {
      const Tensor& other = b.tensors.at(stem).at(name);
      if (tensor.size_bytes() != other.size_bytes() ||
          std::memcmp(tensor.data(), other.data(), static_cast<size_t>(tensor.size_bytes())) != 0)
        return false;
    }
  }
  return true;
}

double Milliseconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

absl::Status Run(int64_t megabytes, int repeats, const std::string& folder) {
  const Checkpoint checkpoint = Make(megabytes * 1'000'000);
  int64_t bytes = 0;
  for (const auto& [stem, tensors] : checkpoint.tensors) {
    for (const auto& [name, tensor] : tensors) bytes += tensor.size_bytes();
  }
  const std::string root = absl::StrCat(folder, "/checkpoint_bench.tmp");
  std::vector<double> plain, write, read, hash;
  for (int i = 0; i < repeats; ++i) {
    absl::Status status = MakeFolders(root);
    plain.push_back(Milliseconds([&] {
      for (const auto& [stem, tensors] : checkpoint.tensors) {
        status.Update(WriteSafetensors(absl::StrCat(root, "/", stem, ".safetensors"), tensors, {}));
      }
    }));
    DS_RETURN_IF_ERROR(status);
    write.push_back(Milliseconds([&] { status = WriteCheckpoint(root, i, checkpoint, 1); }));
    DS_RETURN_IF_ERROR(status);
    absl::StatusOr<Checkpoint> back = Checkpoint();
    read.push_back(Milliseconds([&] { back = ReadCheckpoint(Inside(root, CheckpointName(i))); }));
    DS_RETURN_IF_ERROR(back.status());
    if (!Same(checkpoint, *back)) return absl::DataLossError("it came back as another");
    hash.push_back(Milliseconds([&] {
      Sha256 sha;
      for (const auto& [stem, tensors] : checkpoint.tensors) {
        for (const auto& [name, tensor] : tensors) sha.Update(tensor.bytes());
      }
      sha.Hex();
    }));
  }
  DS_RETURN_IF_ERROR(RemoveTree(root));
  const double plain_ms = Median(plain);
  std::printf("%-6s %9s %9s %12s\n", "", "ms", "MB/s", "over files");
  for (const auto& [name, ms] :
       {std::pair("files", plain_ms), std::pair("write", Median(write)),
        std::pair("read", Median(read)), std::pair("hash", Median(hash))}) {
    std::printf("%-6s %9.1f %9.0f %12.2f\n", name, ms, static_cast<double>(bytes) / 1e3 / ms,
                ms / plain_ms);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace ds

int main(int argc, char** argv) {
  const absl::Status status = ds::Run(argc > 1 ? std::stoll(argv[1]) : 100,
                                      argc > 2 ? std::stoi(argv[2]) : 5, argc > 3 ? argv[3] : ".");
  if (status.ok()) return 0;
  std::fprintf(stderr, "checkpoint_bench: %s\n", std::string(status.message()).c_str());
  return 1;
}
