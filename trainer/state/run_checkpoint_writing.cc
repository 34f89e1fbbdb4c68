#include <filesystem>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/status.h"
#include "comm/bytes.h"
#include "comm/while_others_wait.h"
#include "nlohmann/json.hpp"
#include "trainer/checkpoint/checkpoint_names.h"
#include "trainer/checkpoint/checkpoint_writer.h"
#include "trainer/state/run_checkpoint.h"

namespace ds {
namespace {

using Json = nlohmann::json;

// The folder, or why there is none. The others may stand in another one.
absl::StatusOr<std::string> Begin(const CheckpointPlace& place,
                                  std::unique_ptr<CheckpointWriter>* writer) {
  std::error_code error;
  const std::string root = std::filesystem::absolute(place.root, error).string();
  if (error)
    return ErrnoStatus(error.value(), absl::StrCat("cannot tell where ", place.root, " is"));
  DS_ASSIGN_OR_RETURN(*writer, CheckpointWriter::Begin(root, place.step));
  return (*writer)->folder();
}

absl::StatusOr<std::string> WithContributors(const std::string& state_json,
                                             const std::vector<int>& contributors) {
  Json state = Json::parse(state_json, nullptr, /*allow_exceptions=*/false);
  if (!state.is_object()) {
    return absl::InvalidArgumentError(
        "the checkpoint's state_json is not the text of a JSON object");
  }
  state["ranks"] = {{"contributors", contributors}};
  return state.dump(2);
}

absl::Status WriteShared(const absl::StatusOr<Checkpoint>& shared, bool one_optimizer,
                         const std::vector<int>& contributors, CheckpointWriter& writer) {
  DS_RETURN_IF_ERROR(shared.status());
  for (const auto& [stem, tensors] : shared->tensors) {
    if (stem == "optimizer" && !one_optimizer) continue;
    DS_RETURN_IF_ERROR(writer.AddTensors(stem, tensors));
  }
  DS_ASSIGN_OR_RETURN(const std::string state, WithContributors(shared->state_json, contributors));
  return writer.AddState(state);
}

// This rank's files, by stem. Views of `mine`.
std::map<std::string, TensorMap> FilesOf(const RankState& mine, int rank) {
  std::map<std::string, TensorMap> files;
  if (!mine.residuals.empty()) files[ResidualsFile(rank)] = ResidualTensors(mine.residuals);
  if (!mine.optimizer.empty()) files[OptimizerFile(rank)] = mine.optimizer;
  return files;
}

absl::StatusOr<Manifest> WriteOwn(const std::string& folder,
                                  const std::map<std::string, TensorMap>& files) {
  Manifest written;
  for (const auto& [stem, tensors] : files) {
    DS_ASSIGN_OR_RETURN(written[stem + kTensorSuffix], WriteTensorFile(folder, stem, tensors));
  }
  return written;
}

// Rank `blind` hands its files to rank 0, which writes them. Rank 0's fault goes into `fault`.
absl::Status Relay(int blind, const std::string& folder,
                   const std::map<std::string, TensorMap>& files, CheckpointWriter* writer,
                   absl::Status& fault, Communicator& communicator) {
  for (const std::string& stem : {ResidualsFile(blind), OptimizerFile(blind)}) {
    std::string bytes;
    if (communicator.rank() == blind && files.contains(stem)) {
      absl::StatusOr<std::string> serialized = SerializeSafetensors(files.at(stem));
      fault.Update(serialized.status());
      if (serialized.ok()) bytes = *std::move(serialized);
    }
    DS_ASSIGN_OR_RETURN(const std::vector<std::string> gathered,
                        GatherBytes(bytes, 0, communicator));
    if (writer == nullptr || gathered[static_cast<size_t>(blind)].empty()) continue;
    const std::string name = stem + kTensorSuffix;
    const absl::StatusOr<ManifestEntry> entry =
        WriteCheckpointFile(folder, name, gathered[static_cast<size_t>(blind)]);
    fault.Update(entry.status());
    if (entry.ok()) writer->AddWritten({{name, *entry}});
  }
  return absl::OkStatus();
}

// This rank's part; rank 0 writes the shared one besides.
absl::StatusOr<Manifest> WritePart(absl::FunctionRef<absl::StatusOr<Checkpoint>()> shared,
                                   const absl::StatusOr<RankState>& mine,
                                   const std::vector<int>& contributors, const std::string& folder,
                                   int rank, CheckpointWriter* writer) {
  DS_RETURN_IF_ERROR(mine.status());
  if (writer != nullptr)
    DS_RETURN_IF_ERROR(WriteShared(shared(), mine->optimizer.empty(), contributors, *writer));
  if (!IsFolder(folder)) return Manifest();  // rank 0 is to write it
  return WriteOwn(folder, FilesOf(*mine, rank));
}

absl::Status Complete(const std::vector<std::string>& manifests, int64_t keep,
                      CheckpointWriter& writer) {
  for (size_t r = 0; r < manifests.size(); ++r) {
    DS_ASSIGN_OR_RETURN(const Manifest of_rank,
                        ParseManifest(manifests[r], absl::StrCat("what rank ", r, " wrote")));
    writer.AddWritten(of_rank);
  }
  return writer.Commit(keep);
}

absl::Status Write(const CheckpointPlace& place,
                   absl::FunctionRef<absl::StatusOr<Checkpoint>()> shared,
                   const absl::StatusOr<RankState>& mine, int contributor,
                   Communicator& communicator) {
  const int rank = communicator.rank();
  DS_ASSIGN_OR_RETURN(const std::vector<int> contributors,
                      AllGatherValues(contributor, communicator));
  std::unique_ptr<CheckpointWriter> writer;  // on rank 0
  std::string folder;
  DS_RETURN_IF_ERROR(
      WhileOthersWait(communicator, 0, "begin the checkpoint", [&]() -> absl::Status {
        DS_ASSIGN_OR_RETURN(folder, Begin(place, &writer));
        return absl::OkStatus();
      }));
  DS_ASSIGN_OR_RETURN(folder, BroadcastBytes(std::move(folder), 0, communicator));
  Manifest written;
  DS_RETURN_IF_ERROR(WorkAtOwnPace(communicator, "write the checkpoint", [&]() -> absl::Status {
    DS_ASSIGN_OR_RETURN(written, WritePart(shared, mine, contributors, folder, rank, writer.get()));
    return absl::OkStatus();
  }));
  DS_ASSIGN_OR_RETURN(const std::vector<char> sights,
                      AllGatherValues(static_cast<char>(IsFolder(folder)), communicator));
  absl::Status fault;
  for (size_t r = 0; r < sights.size(); ++r) {
    if (sights[r] != 0) continue;
    DS_RETURN_IF_ERROR(Relay(static_cast<int>(r), folder, FilesOf(*mine, rank), writer.get(), fault,
                             communicator));
  }
  DS_RETURN_IF_ERROR(AgreeOnStatus(fault, communicator));
  DS_ASSIGN_OR_RETURN(const std::vector<std::string> manifests,
                      GatherBytes(RenderManifest(written), 0, communicator));
  return WhileOthersWait(communicator, 0, "complete the checkpoint",
                         [&] { return Complete(manifests, place.keep, *writer); });
}

}  // namespace

absl::Status WriteRunCheckpoint(const CheckpointPlace& place,
                                absl::FunctionRef<absl::StatusOr<Checkpoint>()> shared,
                                const absl::StatusOr<RankState>& mine, int contributor,
                                Communicator& communicator) {
  const absl::Status status = Write(place, shared, mine, contributor, communicator);
  if (status.ok()) return status;
  return Annotate(status, absl::StrCat("writing checkpoint ", CheckpointName(place.step),
                                       " (earlier ones are untouched)"));
}

}  // namespace ds
