// The offer of a run in its folder: what sites are told, the same after every restart.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "federated/store/store.h"
#include "federated/wire/messages.h"

namespace ds::federated {

std::string OfferFile(const std::string& folder);         // the offer, as HelloReply carries it
std::string OfferedModelFile(const std::string& folder);  // the ONNX file that version 0 is

// The folder's offer; where there is none yet it is made and lasts: `write_model` writes the ONNX
// file and returns the task's text. The file's bytes are put into `store`.
// FailedPrecondition: the offer that is there has other options than `options`.
absl::StatusOr<RunOffer> OfferOf(
    const std::string& folder, const std::string& name, const RunOptions& options,
    const std::function<absl::StatusOr<std::string>(const std::string& model_file)>& write_model,
    Store& store);

}  // namespace ds::federated
