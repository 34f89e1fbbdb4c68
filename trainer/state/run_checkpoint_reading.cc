#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/file/file.h"
#include "base/log.h"
#include "base/status.h"
#include "comm/bytes.h"
#include "comm/while_others_wait.h"
#include "nlohmann/json.hpp"
#include "trainer/checkpoint/checkpoint_names.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/state/run_checkpoint.h"

namespace ds {
namespace {

using Json = nlohmann::json;

constexpr absl::string_view kWhat = "read the checkpoint";

// What all ranks know of the checkpoint before anybody reads what is its own.
struct Contents {
  Manifest manifest;
  std::string state_json;
  Json tensors;  // [file, name, type, shape] of those that are the same on all ranks
  RankStateFiles files;
};

// The contributor of each rank that wrote it; empty where it does not say.
absl::StatusOr<std::vector<int>> ContributorsIn(const std::string& state_json) {
  const Json state = Json::parse(state_json, nullptr, /*allow_exceptions=*/false);
  const auto bad = [] {
    return absl::DataLossError("state.json: 'ranks' needs the contributors of all ranks");
  };
  if (!state.is_object() || !state.contains("ranks")) return std::vector<int>();
  if (!state["ranks"].is_object() || !state["ranks"].contains("contributors")) return bad();
  const Json& list = state["ranks"]["contributors"];
  if (!list.is_array()) return bad();
  std::vector<int> contributors;
  for (const Json& entry : list) {
    if (!entry.is_number_unsigned() || entry.get<uint64_t>() >= list.size()) return bad();
    contributors.push_back(entry.get<int>());
  }
  return contributors;
}

// What is the same on all ranks, on rank 0.
absl::StatusOr<Checkpoint> ReadShared(const CheckpointReader& reader) {
  Checkpoint shared;
  DS_ASSIGN_OR_RETURN(shared.state_json, reader.State());
  for (const std::string& stem : reader.stems()) {
    if (BelongsToOneRank(stem)) continue;
    DS_ASSIGN_OR_RETURN(shared.tensors[stem], reader.Tensors(stem));
  }
  return shared;
}

Json DescribeTensors(const Checkpoint& checkpoint) {
  Json list = Json::array();
  for (const auto& [file, tensors] : checkpoint.tensors) {
    for (const auto& [name, tensor] : tensors) {
      list.push_back({file, name, std::string(Name(tensor.dtype())), tensor.shape()});
    }
  }
  return list;
}

absl::Status MakeRoom(const Json& description, Checkpoint* checkpoint) {
  for (const Json& entry : description) {
    DS_ASSIGN_OR_RETURN(const DType dtype, DTypeFromName(entry[2].get<std::string>()));
    DS_ASSIGN_OR_RETURN(
        checkpoint->tensors[entry[0].get<std::string>()][entry[1].get<std::string>()],
        Tensor::Create(dtype, entry[3].get<Shape>()));
  }
  return absl::OkStatus();
}

// One attempt at one folder. Every rank comes to the same end: a `fault` of the checkpoint, or an
// error of the communicator.
class Attempt {
 public:
  Attempt(std::string folder, int contributor, bool own_optimizer, Communicator& communicator)
      : folder_(std::move(folder)),
        contributor_(contributor),
        own_optimizer_(own_optimizer),
        communicator_(communicator) {}

  absl::Status Run(RunCheckpoint* checkpoint, absl::Status* fault) {
    checkpoint_ = checkpoint;
    *checkpoint = {.folder = folder_};
    DS_RETURN_IF_ERROR(ReadContents(fault));
    if (!fault->ok()) return absl::OkStatus();
    DS_RETURN_IF_ERROR(FindBlindRanks());
    DS_RETURN_IF_ERROR(ReadResiduals(fault));
    if (!fault->ok()) return absl::OkStatus();
    DS_RETURN_IF_ERROR(ReadOptimizer(fault));
    if (!fault->ok()) return absl::OkStatus();
    return BroadcastShared();
  }

 private:
  bool root() const { return communicator_.rank() == 0; }
  size_t me() const { return static_cast<size_t>(communicator_.rank()); }
  size_t contributors_now() const {
    return static_cast<size_t>(*std::max_element(contributors_.begin(), contributors_.end())) + 1;
  }

  // The first rank's fault, on all.
  absl::Status Agree(const absl::Status& mine, absl::Status* fault) {
    DS_ASSIGN_OR_RETURN(const std::vector<std::string> messages,
                        AllGatherBytes(mine.message(), communicator_));
    DS_ASSIGN_OR_RETURN(const std::vector<int32_t> codes,
                        AllGatherValues(static_cast<int32_t>(mine.raw_code()), communicator_));
    for (size_t r = 0; r < codes.size() && fault->ok(); ++r) {
      if (codes[r] != 0)
        *fault = absl::Status(static_cast<absl::StatusCode>(codes[r]), messages[r]);
    }
    return absl::OkStatus();
  }

  absl::Status ReadContents(absl::Status* fault) {
    absl::Status mine;
    Json header;
    DS_RETURN_IF_ERROR(WhileOthersWait(communicator_, 0, kWhat, [&] {
      const absl::StatusOr<CheckpointReader> reader = CheckpointReader::Open(folder_);
      mine = reader.status();
      absl::StatusOr<Checkpoint> shared = Checkpoint();
      if (mine.ok()) shared = ReadShared(*reader);
      mine.Update(shared.status());
      if (mine.ok()) {
        checkpoint_->shared = *std::move(shared);
        header = {{"manifest", RenderManifest(reader->manifest())},
                  {"state", checkpoint_->shared.state_json},
                  {"tensors", DescribeTensors(checkpoint_->shared)}};
      }
      return absl::OkStatus();  // a fault of the checkpoint is no error yet
    }));
    DS_ASSIGN_OR_RETURN(const std::string text, BroadcastBytes(header.dump(), 0, communicator_));
    header = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (header.is_object()) mine.Update(Understand(header));
    return Agree(mine, fault);
  }

  absl::Status Understand(const Json& header) {
    DS_ASSIGN_OR_RETURN(contents_.manifest,
                        ParseManifest(header["manifest"].get<std::string>(), folder_));
    contents_.state_json = header["state"].get<std::string>();
    contents_.tensors = header["tensors"];
    DS_ASSIGN_OR_RETURN(const std::vector<int> writers, ContributorsIn(contents_.state_json));
    DS_ASSIGN_OR_RETURN(contents_.files, RankStateFiles::Find(contents_.manifest, writers));
    return absl::OkStatus();
  }

  absl::Status FindBlindRanks() {
    DS_ASSIGN_OR_RETURN(contributors_, AllGatherValues(contributor_, communicator_));
    DS_ASSIGN_OR_RETURN(sights_,
                        AllGatherValues(static_cast<char>(IsFolder(folder_)), communicator_));
    return absl::OkStatus();
  }

  absl::StatusOr<TensorMap> Read(const std::string& stem) const {
    return ReadTensorFile(folder_, stem, contents_.manifest.at(stem + kTensorSuffix));
  }

  // The files that this rank is to have: read by itself, or by rank 0 for those that do not see
  // the folder. `stems_of` tells the same on all ranks.
  absl::Status Fetch(absl::FunctionRef<std::vector<std::string>(size_t rank)> stems_of,
                     std::map<std::string, TensorMap>* files, absl::Status* fault) {
    absl::Status mine;
    DS_RETURN_IF_ERROR(WorkAtOwnPace(communicator_, kWhat, [&] {
      if (sights_[me()] == 0) return absl::OkStatus();
      for (const std::string& stem : stems_of(me())) {
        absl::StatusOr<TensorMap> read = Read(stem);
        mine.Update(read.status());
        if (read.ok()) (*files)[stem] = *std::move(read);
      }
      return absl::OkStatus();
    }));
    for (size_t blind = 1; blind < sights_.size(); ++blind) {
      if (sights_[blind] != 0) continue;
      for (const std::string& stem : stems_of(blind))
        DS_RETURN_IF_ERROR(Relay(blind, stem, files, &mine));
    }
    return Agree(mine, fault);
  }

  absl::Status Relay(size_t blind, const std::string& stem, std::map<std::string, TensorMap>* files,
                     absl::Status* mine) {
    const std::string name = stem + kTensorSuffix;
    absl::StatusOr<std::string> bytes = std::string();
    if (root()) bytes = ReadCheckpointFile(folder_, name, contents_.manifest.at(name));
    mine->Update(bytes.status());
    std::vector<absl::string_view> parts(sights_.size());
    if (bytes.ok()) parts[blind] = *bytes;
    DS_ASSIGN_OR_RETURN(std::string part, ScatterBytes(parts, 0, communicator_));
    if (me() != blind || part.empty()) return absl::OkStatus();
    auto owner = std::make_shared<std::string>(std::move(part));
    absl::StatusOr<TensorMap> parsed = ParseSafetensors(*owner, Inside(folder_, name), owner);
    mine->Update(parsed.status());
    if (parsed.ok()) (*files)[stem] = *std::move(parsed);
    return absl::OkStatus();
  }

  // One result of rank 0 for all.
  absl::Status FromRankZero(absl::FunctionRef<absl::StatusOr<TensorMap>()> make, TensorMap* tensors,
                            absl::Status* fault) {
    absl::StatusOr<std::string> text = std::string();
    DS_RETURN_IF_ERROR(WhileOthersWait(communicator_, 0, kWhat, [&] {
      absl::StatusOr<TensorMap> made = make();
      text = made.ok() ? SerializeSafetensors(*made) : made.status();
      return absl::OkStatus();
    }));
    DS_RETURN_IF_ERROR(Agree(text.status(), fault));
    if (!fault->ok()) return absl::OkStatus();
    DS_ASSIGN_OR_RETURN(std::string bytes, BroadcastBytes(std::move(text), 0, communicator_));
    auto owner = std::make_shared<std::string>(std::move(bytes));
    DS_ASSIGN_OR_RETURN(*tensors, ParseSafetensors(*owner, folder_, owner));
    return absl::OkStatus();
  }

  absl::Status ReadResiduals(absl::Status* fault) {
    const RankStateFiles& files = contents_.files;
    if (files.residuals.empty()) return absl::OkStatus();
    if (files.residuals.size() == contributors_now()) return ReadOwnResiduals(fault);
    TensorMap tensors;
    CompressorState part;  // outlives the views of it
    DS_RETURN_IF_ERROR(FromRankZero(
        [&]() -> absl::StatusOr<TensorMap> {
          DS_ASSIGN_OR_RETURN(part, ReadEqualPart(files, static_cast<int>(contributors_now()),
                                                  [&](const std::string& s) { return Read(s); }));
          return ResidualTensors(part);
        },
        &tensors, fault));
    if (!fault->ok()) return absl::OkStatus();
    DS_ASSIGN_OR_RETURN(checkpoint_->mine.residuals, ResidualsFrom(tensors, folder_));
    return absl::OkStatus();
  }

  absl::Status ReadOwnResiduals(absl::Status* fault) {
    std::map<std::string, TensorMap> read;
    const auto stems_of = [&](size_t rank) {
      return contents_.files.residuals[static_cast<size_t>(contributors_[rank])];
    };
    DS_RETURN_IF_ERROR(Fetch(stems_of, &read, fault));
    if (!fault->ok()) return absl::OkStatus();
    absl::StatusOr<CompressorState> own = ReadContributor(
        stems_of(me()),
        [&](const std::string& stem) -> absl::StatusOr<TensorMap> { return read.at(stem); });
    DS_RETURN_IF_ERROR(Agree(own.status(), fault));
    if (!fault->ok()) return absl::OkStatus();
    read.clear();
    return AddOwners(*std::move(own), fault);
  }

  // What owners owe goes to everybody, who takes what it owns now.
  absl::Status AddOwners(CompressorState own, absl::Status* fault) {
    const bool speaks = std::find(contributors_.begin(), contributors_.end(), contributor_) ==
                        contributors_.begin() + communicator_.rank();
    CompressorState shared;
    for (auto entry = own.begin(); speaks && entry != own.end(); ++entry) {
      if (!absl::StartsWith(entry->first, absl::StrCat(kWorkerResidual, "/")))
        shared.insert(*entry);
    }
    DS_ASSIGN_OR_RETURN(const std::string text, SerializeSafetensors(ResidualTensors(shared)));
    DS_ASSIGN_OR_RETURN(const std::vector<std::string> texts, AllGatherBytes(text, communicator_));
    ResidualSum sum;
    absl::Status mine;
    for (const std::string& of_rank : texts) {
      DS_ASSIGN_OR_RETURN(const TensorMap tensors, ParseSafetensors(of_rank, folder_));
      if (tensors.empty()) continue;
      DS_ASSIGN_OR_RETURN(const CompressorState state, ResidualsFrom(tensors, folder_));
      mine.Update(sum.Add(state));
    }
    DS_RETURN_IF_ERROR(Agree(mine, fault));
    CompressorState& residuals = checkpoint_->mine.residuals;
    residuals = sum.shared();
    residuals.insert(own.begin(), own.end());  // keeps what is there
    return absl::OkStatus();
  }

  absl::Status ReadOptimizer(absl::Status* fault) {
    const RankStateFiles& files = contents_.files;
    if (files.optimizers.empty()) return absl::OkStatus();
    if (own_optimizer_ && files.optimizers.size() == sights_.size()) {
      std::map<std::string, TensorMap> read;
      DS_RETURN_IF_ERROR(
          Fetch([&](size_t rank) { return std::vector{files.optimizers[rank]}; }, &read, fault));
      if (fault->ok()) checkpoint_->mine.optimizer = std::move(read.begin()->second);
      return absl::OkStatus();
    }
    return FromRankZero(
        [&] { return ReadMeanOptimizer(files, [&](const std::string& s) { return Read(s); }); },
        &checkpoint_->mine.optimizer, fault);
  }

  absl::Status BroadcastShared() {
    Checkpoint& shared = checkpoint_->shared;
    if (!root()) {
      shared.state_json = contents_.state_json;
      DS_RETURN_IF_ERROR(MakeRoom(contents_.tensors, &shared));
    }
    if (communicator_.size() == 1) return absl::OkStatus();
    for (auto& [file, tensors] : shared.tensors) {
      for (auto& [name, tensor] : tensors) {
        DS_RETURN_IF_ERROR(communicator_.Broadcast(
            {tensor.mutable_data(), static_cast<size_t>(tensor.size_bytes())}, 0));
      }
    }
    return absl::OkStatus();
  }

  const std::string folder_;
  const int contributor_;
  const bool own_optimizer_;
  Communicator& communicator_;
  RunCheckpoint* checkpoint_ = nullptr;
  Contents contents_;
  std::vector<int> contributors_;  // of each rank now
  std::vector<char> sights_;       // of each rank: whether it sees the folder
};

}  // namespace

absl::StatusOr<RunCheckpoint> ReadRunCheckpoint(const std::string& root, int contributor,
                                                bool own_optimizer, Communicator& communicator) {
  std::string candidates;
  if (communicator.rank() == 0) {
    std::error_code error;
    const std::string there = std::filesystem::absolute(root, error).string();
    candidates = absl::StrJoin(CheckpointFolders(error ? root : there), "\n");
  }
  DS_ASSIGN_OR_RETURN(candidates, BroadcastBytes(candidates, 0, communicator));
  const std::vector<std::string> folders = absl::StrSplit(candidates, '\n', absl::SkipEmpty());
  for (const std::string& folder : folders) {
    RunCheckpoint checkpoint;
    absl::Status fault;
    DS_RETURN_IF_ERROR(
        Attempt(folder, contributor, own_optimizer, communicator).Run(&checkpoint, &fault));
    if (fault.ok()) return checkpoint;
    if (communicator.rank() == 0)
      Log(LogLevel::kWarning, absl::StrCat("skipping checkpoint ", folder, ": ", fault.message()));
  }
  return absl::NotFoundError(
      absl::StrCat("there is no complete checkpoint under ",
                   communicator.rank() == 0 ? root : std::string("rank 0's folder")));
}

}  // namespace ds
