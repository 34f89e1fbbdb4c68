// One call at the aggregator: what all methods share. Seen by federated/rpc/'s sources only.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "base/thread_pool.h"
#include "federated/rpc/calls/budget.h"
#include "federated/rpc/server.h"
#include "grpcpp/generic/async_generic_service.h"
#include "grpcpp/support/byte_buffer.h"

namespace ds::federated {

class ServerCall;

// What the calls of one server share.
struct ServerCore {
  ServerCore(const ServeOptions& options, FederationService& service, EnrolmentService* enrolment)
      : options(options),
        service(service),
        enrolment(enrolment),
        requests(options.memory_bytes / 2, options.caller_bytes / 2, pool),
        chunks(options.memory_bytes / 2, options.caller_bytes / 2, pool) {}

  const ServeOptions options;
  FederationService& service;
  EnrolmentService* const enrolment;
  // Apart, so that a caller's small calls do not wait for its own chunks.
  Budget requests, chunks;

  // Unavailable where the caller has too many, or the server ends. The call leaves by Remove.
  absl::Status Add(const std::shared_ptr<ServerCall>& call);
  void Remove(const ServerCall& call);
  // Of the calls that are open now.
  std::vector<std::shared_ptr<ServerCall>> Calls() const;
  int64_t size() const;
  // No call is added from here on.
  void Close();
  // Until every call has gone. False after `patience`.
  bool WaitUntilEmpty(absl::Duration patience);

 private:
  mutable Mutex mutex_;
  CondVar changed_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::unordered_map<const ServerCall*, std::shared_ptr<ServerCall>> calls_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<std::string, int> calls_of_ ABSL_GUARDED_BY(mutex_);

 public:
  // Last: its threads end first.
  ThreadPool pool{options.threads};
};

// Who calls, and how.
struct CallFacts {
  Caller caller;         // site empty: without a certificate
  absl::Time expires;    // its certificate
  uint32_t version = 1;  // of the wire
};

// PermissionDenied: the caller's certificate has been revoked, or has expired.
absl::Status CheckInForce(const ServeOptions& options, const CallFacts& facts);

// Lives until gRPC has let go of it and no task of the pool holds it. Everything that gRPC calls,
// and everything here, may come from any thread.
class ServerCall : public grpc::ServerGenericBidiReactor,
                   public std::enable_shared_from_this<ServerCall> {
 public:
  ServerCall(ServerCore& core, grpc::GenericCallbackServerContext& context, CallFacts facts)
      : core_(core), context_(context), facts_(std::move(facts)) {}
  virtual void Begin() = 0;

  // Of the server's clock: ends the call where it is revoked or stands still, else the method's own
  // Beat.
  void Tick();
  // Ends it with an error, and with whatever it waits for.
  void End(const absl::Status& status);
  const Caller& caller() const { return facts_.caller; }

  void OnCancel() final { End(absl::CancelledError("the caller went away")); }
  void OnDone() final;

 protected:
  // The call moved on. Within Patience it must do so again, while it waits for the caller.
  void Progress() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  virtual bool WaitsForCaller() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) = 0;
  virtual absl::Duration Patience() const { return core_.options.stall; }
  // At every tick of a call that goes on; since_message: since the last message was written.
  virtual void Beat(absl::Duration since_message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {}
  // What the method holds beyond the call; called once, after its end.
  virtual void LetGo() {}

  // Reads a message once the budget has room for the largest; share_ is its room.
  void Read(Budget& budget) ABSL_LOCKS_EXCLUDED(mutex_);
  // gRPC's operations; none after the end.
  void Write(grpc::ByteBuffer message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteAndFinish(grpc::ByteBuffer message) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Finish(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // To be called at the top of the methods' OnReadDone and OnWriteDone.
  void ReadIsDone() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { reading_ = false; }
  void WriteIsDone() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { writing_ = false; }

  ServerCore& core_;
  grpc::GenericCallbackServerContext& context_;
  const CallFacts facts_;
  Mutex mutex_;
  grpc::ByteBuffer incoming_;  // gRPC's while reading_
  grpc::ByteBuffer outgoing_;  // gRPC's while writing_
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  Budget::Share share_ ABSL_GUARDED_BY(mutex_);

 private:
  void Read(Budget::Share share) ABSL_LOCKS_EXCLUDED(mutex_);

  bool done_ ABSL_GUARDED_BY(mutex_) = false;       // context_ is gone
  absl::Duration moved_ ABSL_GUARDED_BY(mutex_);    // SteadyTime of the last progress
  absl::Duration written_ ABSL_GUARDED_BY(mutex_);  // of the last message
};

// What answers a method of one message each way.
struct UnaryHandler {
  std::function<absl::StatusOr<std::string>(ServerCore&, const CallFacts&, const std::string&)> run;
  absl::Duration for_size;  // that a slow way may take for the message, beyond options.stall
};
// The methods' calls, by what they are; null: there is none of that name. `method`: without the
// service's name.
const UnaryHandler* FindUnary(const std::string& method);
std::shared_ptr<ServerCall> MakeCall(const std::string& method, ServerCore& core,
                                     grpc::GenericCallbackServerContext& context, CallFacts facts);
std::shared_ptr<ServerCall> MakeUnaryCall(const UnaryHandler& handler, ServerCore& core,
                                          grpc::GenericCallbackServerContext& context,
                                          CallFacts facts);
std::shared_ptr<ServerCall> MakeWatchCall(ServerCore& core,
                                          grpc::GenericCallbackServerContext& context,
                                          CallFacts facts);
std::shared_ptr<ServerCall> MakeUploadCall(ServerCore& core,
                                           grpc::GenericCallbackServerContext& context,
                                           CallFacts facts);
std::shared_ptr<ServerCall> MakeDownloadCall(ServerCore& core,
                                             grpc::GenericCallbackServerContext& context,
                                             CallFacts facts);

}  // namespace ds::federated
