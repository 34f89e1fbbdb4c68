#include <string>
#include <utility>

#include "base/status.h"
#include "federated/pki/enrolment.h"
#include "federated/rpc/buffers.h"
#include "federated/rpc/calls/server_call.h"
#include "federated/wire/codec.h"
#include "federated/wire/transfer.h"

namespace ds::federated {
namespace {

// One message in, one out.
class UnaryCall : public ServerCall {
 public:
  UnaryCall(const UnaryHandler& handler, ServerCore& core,
            grpc::GenericCallbackServerContext& context, CallFacts facts)
      : ServerCall(core, context, std::move(facts)), handler_(handler) {}

  void Begin() override { Read(core_.requests); }

  void OnReadDone(bool ok) override {
    {
      MutexLock lock(mutex_);
      ReadIsDone();
      if (!ok) return Finish(absl::InvalidArgumentError("a call without its message"));
    }
    core_.pool.Submit(
        [self = std::static_pointer_cast<UnaryCall>(shared_from_this())] { self->Run(); });
  }

 private:
  void Run() {
    const absl::StatusOr<std::string> reply = handler_.run(core_, facts_, ToString(incoming_));
    incoming_.Clear();
    MutexLock lock(mutex_);
    share_.Release();
    Progress();
    if (!reply.ok()) return Finish(reply.status());
    WriteAndFinish(ToBuffer(*reply));
  }

  bool WaitsForCaller() const override ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return reading_; }
  absl::Duration Patience() const override { return core_.options.stall + handler_.for_size; }

  const UnaryHandler& handler_;
};

absl::StatusOr<std::string> Hello(ServerCore& core, const CallFacts& facts,
                                  const std::string& bytes) {
  DS_ASSIGN_OR_RETURN(const HelloRequest request, DecodeHelloRequest(bytes));
  DS_ASSIGN_OR_RETURN(const uint32_t version, NegotiateVersion(request));
  DS_ASSIGN_OR_RETURN(HelloReply reply, core.service.Hello(facts.caller, request));
  reply.version = version;
  return Encode(reply);
}

absl::StatusOr<std::string> Join(ServerCore& core, const CallFacts& facts,
                                 const std::string& bytes) {
  DS_ASSIGN_OR_RETURN(const JoinRequest request, DecodeJoinRequest(bytes));
  DS_ASSIGN_OR_RETURN(const JoinReply reply, core.service.Join(facts.caller, request));
  return Encode(reply);
}

absl::StatusOr<std::string> Commit(ServerCore& core, const CallFacts& facts,
                                   const std::string& bytes) {
  DS_ASSIGN_OR_RETURN(const CommitRequest request, DecodeCommitRequest(bytes));
  DS_ASSIGN_OR_RETURN(const CommitReply reply, core.service.Commit(facts.caller, request));
  return Encode(reply);
}

absl::StatusOr<std::string> Secure(ServerCore& core, const CallFacts& facts,
                                   const std::string& bytes) {
  DS_ASSIGN_OR_RETURN(const SecureRequest request, DecodeSecureRequest(bytes));
  DS_ASSIGN_OR_RETURN(const SecureReply reply, core.service.Secure(facts.caller, request));
  return Encode(reply);
}

absl::StatusOr<std::string> UploadStatus(ServerCore& core, const CallFacts& facts,
                                         const std::string& bytes) {
  DS_ASSIGN_OR_RETURN(const UploadStatusRequest request, DecodeUploadStatusRequest(bytes));
  DS_ASSIGN_OR_RETURN(const int64_t received,
                      core.service.UploadStatus(facts.caller, request.digest, request.size));
  return Encode(UploadStatusReply{.received = received});
}

absl::Status NoEnrolment() {
  return absl::UnimplementedError(
      "this aggregator enrols nobody: ask its operator for a certificate made by ds_pki");
}

absl::StatusOr<std::string> Enrol(ServerCore& core, const CallFacts& facts,
                                  const std::string& bytes) {
  if (core.enrolment == nullptr) return NoEnrolment();
  DS_ASSIGN_OR_RETURN(const EnrolRequest request, DecodeEnrolRequest(bytes));
  DS_ASSIGN_OR_RETURN(const EnrolReply reply, core.enrolment->Enrol(request));
  return Encode(reply);
}

absl::StatusOr<std::string> Renew(ServerCore& core, const CallFacts& facts,
                                  const std::string& bytes) {
  if (core.enrolment == nullptr) return NoEnrolment();
  DS_ASSIGN_OR_RETURN(const RenewRequest request, DecodeRenewRequest(bytes));
  DS_ASSIGN_OR_RETURN(const EnrolReply reply, core.enrolment->Renew(facts.caller, request));
  return Encode(reply);
}

}  // namespace

const UnaryHandler* FindUnary(const std::string& method) {
  // Its payload may fill a message, the others' are small.
  static constexpr absl::Duration kLarge = absl::Seconds(kMaxMessageBytes / kSlowestBytesASecond);
  static const auto& handlers = *new std::unordered_map<std::string, UnaryHandler>{
      {"Hello", {Hello}},           {"Join", {Join}},   {"Commit", {Commit}},
      {"Enrol", {Enrol}},           {"Renew", {Renew}}, {"UploadStatus", {UploadStatus}},
      {"Secure", {Secure, kLarge}},
  };
  const auto found = handlers.find(method);
  return found == handlers.end() ? nullptr : &found->second;
}

std::shared_ptr<ServerCall> MakeUnaryCall(const UnaryHandler& handler, ServerCore& core,
                                          grpc::GenericCallbackServerContext& context,
                                          CallFacts facts) {
  return std::make_shared<UnaryCall>(handler, core, context, std::move(facts));
}

}  // namespace ds::federated
