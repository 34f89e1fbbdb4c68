#include "trainer/state/exchange_state.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <map>
#include <set>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "comm/compress/compressor_state.h"
#include "comm/hosts.h"
#include "trainer/state/rank_files.h"

namespace ds {
namespace {

constexpr absl::string_view kResiduals = "residuals-", kOptimizers = "optimizer-";

absl::StatusOr<TensorMap> ToTensors(const CompressorState& state) {
  TensorMap tensors;
  for (const auto& [key, values] : state) {
    DS_ASSIGN_OR_RETURN(Tensor tensor,
                        Tensor::Create(DType::kFloat32, {static_cast<int64_t>(values.size())}));
    if (!values.empty())
      std::memcpy(tensor.mutable_data(), values.data(), values.size() * sizeof(float));
    tensors[key] = std::move(tensor);
  }
  return tensors;
}

absl::StatusOr<CompressorState> FromTensors(const std::map<std::string, Tensor>& tensors,
                                            absl::string_view file) {
  CompressorState state;
  for (const auto& [key, tensor] : tensors) {
    if (tensor.dtype() != DType::kFloat32) {
      return absl::DataLossError(absl::StrCat(file, ": '", key, "' is not of type float32"));
    }
    std::vector<float>& values = state[key];
    values.resize(static_cast<size_t>(tensor.num_elements()));
    if (!values.empty()) std::memcpy(values.data(), tensor.data(), values.size() * sizeof(float));
  }
  return state;
}

// The residuals for `contributors` of them, from however many a checkpoint holds; none if it has
// none.
absl::StatusOr<std::vector<TensorMap>> ResidualParts(const Checkpoint& checkpoint,
                                                     int contributors) {
  DS_ASSIGN_OR_RETURN(const std::vector<TensorMap> files, NumberedFiles(checkpoint, kResiduals));
  std::vector<TensorMap> parts;
  if (files.empty()) return parts;
  std::vector<CompressorState> states;
  for (size_t f = 0; f < files.size(); ++f) {
    DS_ASSIGN_OR_RETURN(states.emplace_back(), FromTensors(files[f], absl::StrCat(kResiduals, f)));
  }
  DS_ASSIGN_OR_RETURN(states, RedistributeResiduals(states, contributors));
  for (const CompressorState& state : states) {
    DS_ASSIGN_OR_RETURN(parts.emplace_back(), ToTensors(state));
  }
  return parts;
}

template <typename T>
Tensor MeanOf(const std::vector<const Tensor*>& tensors) {
  Tensor mean = tensors[0]->Clone();
  const absl::Span<T> values(reinterpret_cast<T*>(mean.mutable_data()),
                             static_cast<size_t>(mean.num_elements()));
  for (size_t i = 0; i < values.size(); ++i) {
    double sum = 0;
    for (const Tensor* tensor : tensors)
      sum += static_cast<double>(reinterpret_cast<const T*>(tensor->data())[i]);
    sum /= static_cast<double>(tensors.size());
    values[i] = static_cast<T>(std::is_integral_v<T> ? std::round(sum) : sum);
  }
  return mean;
}

absl::StatusOr<TensorMap> MeanOptimizer(const std::vector<TensorMap>& states) {
  TensorMap mean;
  for (const auto& [name, first] : states[0]) {
    std::vector<const Tensor*> all;
    for (size_t s = 0; s < states.size(); ++s) {
      const auto found = states[s].find(name);
      if (found == states[s].end() || states[s].size() != states[0].size() ||
          found->second.dtype() != first.dtype() || found->second.shape() != first.shape()) {
        return absl::DataLossError(absl::StrCat(kOptimizers, s, " and ", kOptimizers,
                                                "0 of the checkpoint differ in '", name,
                                                "': they are not of one run"));
      }
      all.push_back(&found->second);
    }
    if (first.dtype() == DType::kFloat32) {
      mean[name] = MeanOf<float>(all);
    } else if (first.dtype() == DType::kInt64) {
      mean[name] = MeanOf<int64_t>(all);
    } else {
      return absl::DataLossError(
          absl::StrCat(kOptimizers, "0: '", name, "' is neither float32 nor int64"));
    }
  }
  return mean;
}

absl::StatusOr<RankParts> OptimizerParts(const Checkpoint& checkpoint, bool own, int ranks) {
  RankParts parts;
  DS_ASSIGN_OR_RETURN(parts.parts, NumberedFiles(checkpoint, kOptimizers));
  parts.part_of_rank.resize(static_cast<size_t>(ranks));
  if (parts.parts.empty()) return parts;
  if (own && parts.parts.size() == parts.part_of_rank.size()) {
    for (int r = 0; r < ranks; ++r) parts.part_of_rank[static_cast<size_t>(r)] = r;
    return parts;
  }
  DS_ASSIGN_OR_RETURN(TensorMap mean, MeanOptimizer(parts.parts));
  parts.parts = {std::move(mean)};
  return parts;
}

}  // namespace

bool BelongsToOneRank(const std::string& file_stem) {
  return absl::StartsWith(file_stem, kResiduals) || absl::StartsWith(file_stem, kOptimizers);
}

absl::StatusOr<int> ContributorOf(bool hierarchical, Communicator& communicator) {
  if (!hierarchical) return communicator.rank();
  DS_ASSIGN_OR_RETURN(const int host, HostOfRank(communicator));
  DS_ASSIGN_OR_RETURN(const std::vector<int> hosts, FromAllRanks(host, communicator));
  // A host is named by its lowest rank; contributors are numbered without gaps.
  const std::set<int> distinct(hosts.begin(), hosts.end());
  return static_cast<int>(std::distance(distinct.begin(), distinct.find(host)));
}

absl::Status GatherResiduals(const CompressorState& mine, int contributor,
                             Communicator& communicator, Checkpoint* checkpoint) {
  DS_ASSIGN_OR_RETURN(const TensorMap tensors, ToTensors(mine));
  DS_ASSIGN_OR_RETURN(const std::vector<int> contributors, FromAllRanks(contributor, communicator));
  DS_ASSIGN_OR_RETURN(const std::vector<TensorMap> all,
                      GatherTensors(tensors, "residuals", communicator));
  std::map<int, std::vector<CompressorState>> states;
  for (size_t r = 0; r < all.size(); ++r) {
    if (all[r].empty()) continue;
    DS_ASSIGN_OR_RETURN(states[contributors[r]].emplace_back(),
                        FromTensors(all[r], absl::StrCat("residuals of rank ", r)));
  }
  for (const auto& [number, parts] : states) {
    DS_ASSIGN_OR_RETURN(const CompressorState merged, MergeStates(parts));
    DS_ASSIGN_OR_RETURN(checkpoint->tensors[absl::StrCat(kResiduals, number)], ToTensors(merged));
  }
  return absl::OkStatus();
}

absl::StatusOr<CompressorState> ScatterResiduals(const Checkpoint& checkpoint, int contributor,
                                                 Communicator& communicator) {
  absl::StatusOr<RankParts> parts = RankParts();
  DS_ASSIGN_OR_RETURN(parts->part_of_rank, FromAllRanks(contributor, communicator));
  if (communicator.rank() == 0) {
    const int last = *std::max_element(parts->part_of_rank.begin(), parts->part_of_rank.end());
    absl::StatusOr<std::vector<TensorMap>> made = ResidualParts(checkpoint, last + 1);
    if (made.ok()) {
      parts->parts = *std::move(made);
    } else {
      parts = made.status();
    }
  }
  DS_ASSIGN_OR_RETURN(const TensorMap mine, ScatterTensors(parts, "residuals", communicator));
  return FromTensors(mine, "residuals");
}

absl::Status GatherOptimizers(const TensorMap& mine, Communicator& communicator,
                              Checkpoint* checkpoint) {
  DS_ASSIGN_OR_RETURN(std::vector<TensorMap> all,
                      GatherTensors(mine, "the optimiser's state", communicator));
  if (communicator.rank() != 0) return absl::OkStatus();
  checkpoint->tensors.erase("optimizer");
  for (size_t r = 0; r < all.size(); ++r)
    checkpoint->tensors[absl::StrCat(kOptimizers, r)] = std::move(all[r]);
  return absl::OkStatus();
}

absl::StatusOr<TensorMap> ScatterOptimizers(const Checkpoint& checkpoint, bool own,
                                            Communicator& communicator) {
  absl::StatusOr<RankParts> parts = RankParts();
  if (communicator.rank() == 0) parts = OptimizerParts(checkpoint, own, communicator.size());
  return ScatterTensors(parts, "optimisers", communicator);
}

}  // namespace ds
