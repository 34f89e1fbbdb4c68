// One call of the client's, driven by the thread that makes it. Seen by federated/rpc/'s sources
// only.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/byte_buffer.h"

namespace ds::federated {

// What goes with every call of a client.
struct CallOptions {
  uint32_t version = 1;  // of the wire
  std::string site;      // insecure only
  absl::Duration stall;
};

// Unavailable: no answer within options.stall and the time that a slow way needs for `request`, or
// none can come now. Anything else is the
// aggregator's word.
absl::StatusOr<std::string> UnaryCallTo(const std::shared_ptr<grpc::Channel>& channel,
                                        const std::string& method, absl::string_view request,
                                        const CallOptions& options);

// Messages both ways. Start first, then at most one of each kind of operation under way, whose ends
// Next tells; Finish last. Destroyed, it is cancelled.
class StreamCall {
 public:
  enum class Operation { kStart, kRead, kWrite, kWritesDone, kFinish, kNone };
  struct Event {
    Operation operation = Operation::kNone;  // kNone: nothing ended within options.stall
    bool ok = false;
  };

  StreamCall(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
             const CallOptions& options);
  ~StreamCall();

  void Start();
  void Read();  // into message()
  void Write(grpc::ByteBuffer message);
  void WritesDone();
  Event Next();
  // What the last read brought, taken.
  grpc::ByteBuffer TakeMessage() { return std::move(incoming_); }
  // Waits for the end; OK only where the aggregator said so. Unavailable as above.
  absl::Status Finish();
  // From any thread: what is under way ends soon.
  void Cancel() { context_.TryCancel(); }

 private:
  void* Tag(Operation operation);

  const absl::Duration stall_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
  grpc::ByteBuffer incoming_, outgoing_;
  grpc::Status status_;
  int under_way_ = 0;
};

}  // namespace ds::federated
