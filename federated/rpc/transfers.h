// Blobs up and down, an attempt at a time. Seen by federated/rpc/'s sources only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "federated/rpc/client_call.h"
#include "federated/store/store.h"

namespace ds::federated {

struct Attempt {
  absl::Status status;
  bool progress = false;  // some bytes arrived, whatever the status is
};

// Sends `blob` from `offset` on, in chunks of `chunk_bytes` at most.
Attempt TryUpload(const std::shared_ptr<grpc::Channel>& channel, const std::string& digest,
                  const BlobReader& blob, int64_t offset, int64_t chunk_bytes,
                  const CallOptions& options);

// Reads from into.received() on. Not finished yet when it returns.
Attempt TryDownload(const std::shared_ptr<grpc::Channel>& channel, const std::string& digest,
                    BlobWriter& into, int64_t chunk_bytes, const CallOptions& options);

// The size of a blob.
absl::StatusOr<int64_t> AskSize(const std::shared_ptr<grpc::Channel>& channel,
                                const std::string& digest, const CallOptions& options);

}  // namespace ds::federated
