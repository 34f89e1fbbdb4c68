// Between gRPC's buffers and ours, and its codes and Abseil's. Seen by federated/rpc/'s sources
// only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grpc/support/time.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/status.h"

namespace ds::federated {

grpc::ByteBuffer ToBuffer(absl::string_view bytes);
// `head`, then `data` without a copy: kept until gRPC has sent them.
grpc::ByteBuffer ToBuffer(absl::string_view head,
                          std::shared_ptr<const std::vector<std::byte>> data);
std::string ToString(const grpc::ByteBuffer& buffer);

// The same numbers; texts are cut to what fits in a call's trailer.
grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

// gRPC's deadline, by the monotonic clock.
gpr_timespec MonotonicIn(absl::Duration patience);

}  // namespace ds::federated
