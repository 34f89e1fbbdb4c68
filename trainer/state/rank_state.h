// What each rank has of its own in a checkpoint, in numbered files that it writes and reads itself:
// residuals of the exchange, and with local steps its optimiser.
//
// Residuals are a contributor's: a rank, or a host where hosts sum up first, whose ranks then have
// a part each.
#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tensor/safetensors.h"
#include "comm/communicator.h"
#include "comm/compress/compressor_state.h"
#include "trainer/checkpoint/manifest.h"

namespace ds {

struct RankState {
  CompressorState residuals;
  TensorMap optimizer;  // empty where all ranks have the same
};

// This rank's contributor number: its rank, or its host's. Collective.
absl::StatusOr<int> ContributorOf(bool hierarchical, Communicator& communicator);

// Residuals as a file holds them. The tensors are views of `state`, and live no longer than it.
TensorMap ResidualTensors(const CompressorState& state);
// DataLoss naming `origin` for what is no float32.
absl::StatusOr<CompressorState> ResidualsFrom(const TensorMap& tensors, absl::string_view origin);

std::string ResidualsFile(int number);  // stem
std::string OptimizerFile(int number);
// Whether a file of a checkpoint is one rank's.
bool BelongsToOneRank(absl::string_view stem);

// Which files of a checkpoint hold what.
struct RankStateFiles {
  // `contributors`: of each rank that wrote it; empty where the checkpoint does not say, as those
  // of earlier versions, which had one file of residuals a contributor. DataLoss if an optimiser is
  // missing among others or a file bears no number.
  static absl::StatusOr<RankStateFiles> Find(const Manifest& manifest,
                                             const std::vector<int>& contributors);

  std::vector<std::vector<std::string>>
      residuals;                        // stems of each contributor; empty: there are none
  std::vector<std::string> optimizers;  // stem of each rank; empty: one for all
};

using ReadStem = absl::FunctionRef<absl::StatusOr<TensorMap>(const std::string& stem)>;

// The residuals of one contributor, whose ranks' files are `stems`.
absl::StatusOr<CompressorState> ReadContributor(const std::vector<std::string>& stems,
                                                ReadStem read);
// The equal part for each of `contributors` others: what is owed in all stays the same
// (ResidualSum). Holds one contributor's residuals at a time, beside the sum.
absl::StatusOr<CompressorState> ReadEqualPart(const RankStateFiles& files, int contributors,
                                              ReadStem read);
// The mean of all ranks' optimisers (counts are rounded), one held at a time beside the sum.
// DataLoss if they differ in names, types or shapes.
absl::StatusOr<TensorMap> ReadMeanOptimizer(const RankStateFiles& files, ReadStem read);

}  // namespace ds
