#include "federated/rpc/buffers.h"

#include <array>

namespace ds::federated {
namespace {

// Percent-encoded a byte may take three, and all metadata together may have 8 KiB.
constexpr size_t kMaxTrailerText = 2000;

}  // namespace

grpc::ByteBuffer ToBuffer(absl::string_view bytes) {
  const grpc::Slice slice(bytes.data(), bytes.size());
  return grpc::ByteBuffer(&slice, 1);
}

grpc::ByteBuffer ToBuffer(absl::string_view head,
                          std::shared_ptr<const std::vector<std::byte>> data) {
  using Holder = std::shared_ptr<const std::vector<std::byte>>;
  auto* holder = new Holder(std::move(data));
  // gRPC wants a pointer that it may write to, and does not.
  void* bytes = const_cast<std::byte*>((*holder)->data());
  const std::array<grpc::Slice, 2> slices = {
      grpc::Slice(head.data(), head.size()),
      grpc::Slice(
          bytes, (*holder)->size(), [](void* held) { delete static_cast<Holder*>(held); }, holder)};
  return grpc::ByteBuffer(slices.data(), slices.size());
}

std::string ToString(const grpc::ByteBuffer& buffer) {
  std::string bytes;
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok()) return bytes;
  bytes.reserve(buffer.Length());
  for (const grpc::Slice& slice : slices)
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      std::string(status.message().substr(0, kMaxTrailerText)));
}

absl::Status FromGrpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

gpr_timespec MonotonicIn(absl::Duration patience) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_nanos(absl::ToInt64Nanoseconds(patience), GPR_TIMESPAN));
}

}  // namespace ds::federated
