#include "federated/rpc/client_call.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "federated/rpc/buffers.h"
#include "federated/rpc/gatekeeper.h"
#include "federated/wire/codec.h"

namespace ds::federated {
namespace {

void Prepare(grpc::ClientContext& context, const CallOptions& options) {
  if (options.version > 1) context.AddMetadata(kVersionKey, std::to_string(options.version));
  if (!options.site.empty()) context.AddMetadata(kSiteKey, options.site);
}

std::string Path(const std::string& method) { return kServicePrefix + method; }

absl::Status NoAnswer(absl::Duration stall) {
  return absl::UnavailableError(
      absl::StrCat("no answer from the aggregator for ", absl::FormatDuration(stall)));
}

// What a call ended with that the aggregator did not mean so: the connection was lost (Unknown,
// as gRPC says at times; Cancelled), or it gave a stalled call up.
absl::Status Ended(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::UNKNOWN:
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return absl::UnavailableError(status.error_message());
    default:
      return FromGrpc(status);
  }
}

}  // namespace

absl::StatusOr<std::string> UnaryCallTo(const std::shared_ptr<grpc::Channel>& channel,
                                        const std::string& method, absl::string_view request,
                                        const CallOptions& options) {
  grpc::ClientContext context;
  Prepare(context, options);
  grpc::CompletionQueue queue;
  grpc::GenericStub stub(channel);
  const auto call = stub.PrepareUnaryCall(&context, Path(method), ToBuffer(request), &queue);
  grpc::ByteBuffer reply;
  grpc::Status status;
  call->StartCall();
  call->Finish(&reply, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  const absl::Duration patience =
      options.stall + absl::Seconds(1) * request.size() / kSlowestBytesASecond;
  const bool answered =
      queue.AsyncNext(&tag, &ok, MonotonicIn(patience)) == grpc::CompletionQueue::GOT_EVENT;
  if (!answered) {
    context.TryCancel();
    queue.Next(&tag, &ok);
  }
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  if (!answered) return NoAnswer(patience);
  if (!status.ok()) return Ended(status);
  return ToString(reply);
}

StreamCall::StreamCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                       const CallOptions& options)
    : stall_(options.stall) {
  Prepare(context_, options);
  stream_ = grpc::GenericStub(channel).PrepareCall(&context_, Path(method), &queue_);
}

StreamCall::~StreamCall() {
  if (under_way_ > 0) context_.TryCancel();
  void* tag = nullptr;
  bool ok = false;
  for (; under_way_ > 0; --under_way_) queue_.Next(&tag, &ok);
  queue_.Shutdown();
  while (queue_.Next(&tag, &ok)) {
  }
}

void* StreamCall::Tag(Operation operation) {
  ++under_way_;
  return reinterpret_cast<void*>(static_cast<intptr_t>(operation));
}

void StreamCall::Start() { stream_->StartCall(Tag(Operation::kStart)); }

void StreamCall::Read() { stream_->Read(&incoming_, Tag(Operation::kRead)); }

void StreamCall::Write(grpc::ByteBuffer message) {
  outgoing_ = std::move(message);
  stream_->Write(outgoing_, Tag(Operation::kWrite));
}

void StreamCall::WritesDone() { stream_->WritesDone(Tag(Operation::kWritesDone)); }

StreamCall::Event StreamCall::Next() {
  void* tag = nullptr;
  bool ok = false;
  if (queue_.AsyncNext(&tag, &ok, MonotonicIn(stall_)) != grpc::CompletionQueue::GOT_EVENT)
    return {};
  --under_way_;
  return {static_cast<Operation>(reinterpret_cast<intptr_t>(tag)), ok};
}

absl::Status StreamCall::Finish() {
  stream_->Finish(&status_, Tag(Operation::kFinish));
  while (true) {
    const Event event = Next();
    if (event.operation == Operation::kNone) return NoAnswer(stall_);
    if (event.operation == Operation::kFinish) break;
  }
  return status_.ok() ? absl::OkStatus() : Ended(status_);
}

}  // namespace ds::federated
