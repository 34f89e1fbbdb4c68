#include "trainer/checkpoint/checkpoint.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "trainer/checkpoint/checkpoint_names.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/checkpoint/checkpoint_writer.h"

namespace ds {
namespace {

absl::Status Write(const std::string& root, int64_t step, const Checkpoint& checkpoint,
                   int64_t keep) {
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<CheckpointWriter> writer,
                      CheckpointWriter::Begin(root, step));
  for (const auto& [stem, tensors] : checkpoint.tensors)
    DS_RETURN_IF_ERROR(writer->AddTensors(stem, tensors));
  DS_RETURN_IF_ERROR(writer->AddState(checkpoint.state_json));
  return writer->Commit(keep);
}

}  // namespace

absl::Status WriteCheckpoint(const std::string& root, int64_t step, const Checkpoint& checkpoint,
                             int64_t keep) {
  const absl::Status status = Write(root, step, checkpoint, keep);
  if (status.ok()) return status;
  return Annotate(status, absl::StrCat("writing checkpoint ", CheckpointName(step),
                                       " (earlier ones are untouched)"));
}

absl::StatusOr<Checkpoint> ReadCheckpoint(const std::string& folder) {
  DS_ASSIGN_OR_RETURN(const CheckpointReader reader, CheckpointReader::Open(folder));
  Checkpoint checkpoint;
  DS_ASSIGN_OR_RETURN(checkpoint.state_json, reader.State());
  for (const std::string& stem : reader.stems()) {
    DS_ASSIGN_OR_RETURN(checkpoint.tensors[stem], reader.Tensors(stem));
  }
  return checkpoint;
}

}  // namespace ds
