#include "federated/rpc/gatekeeper.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status.h"
#include "federated/pki/certificate.h"

namespace ds::federated {
namespace {

constexpr size_t kMaxKnown = 4096;

// Empty: absent.
std::string Metadata(const grpc::GenericCallbackServerContext& context, const char* key) {
  const auto found = context.client_metadata().find(key);
  if (found == context.client_metadata().end()) return "";
  return std::string(found->second.data(), found->second.size());
}

absl::StatusOr<uint32_t> VersionOf(const grpc::GenericCallbackServerContext& context) {
  const std::string text = Metadata(context, kVersionKey);
  if (text.empty()) return 1;
  uint32_t version = 0;
  if (!absl::SimpleAtoi(text, &version) || version < kOldestWireVersion || version > kWireVersion)
    return absl::FailedPreconditionError(
        absl::StrCat("wire version '", text, "' is not spoken here, but ", kOldestWireVersion,
                     " to ", kWireVersion, ": say Hello again"));
  return version;
}

// A site may do everything, an operator may look and renew, who has no certificate may enrol.
absl::Status CheckRole(const std::string& method, const Caller& caller) {
  if (method == "Enrol") return absl::OkStatus();
  if (caller.site.empty())
    return absl::UnauthenticatedError(
        absl::StrCat("a call of ", method, " without a certificate: enrol first"));
  if (caller.role == kSiteRole) return absl::OkStatus();
  if (caller.role == kOperatorRole && (method == "Hello" || method == "Renew"))
    return absl::OkStatus();
  return absl::PermissionDeniedError(absl::StrCat("'", caller.site, "' has the role ", caller.role,
                                                  ", which may not call ", method));
}

}  // namespace

absl::StatusOr<CallFacts> Gatekeeper::Admit(const std::string& method,
                                            const grpc::GenericCallbackServerContext& context) {
  DS_ASSIGN_OR_RETURN(CallFacts facts, Identify(context));
  DS_RETURN_IF_ERROR(CheckRole(method, facts.caller));
  DS_RETURN_IF_ERROR(CheckInForce(options_, facts));
  DS_ASSIGN_OR_RETURN(facts.version, VersionOf(context));
  return facts;
}

absl::StatusOr<CallFacts> Gatekeeper::Identify(const grpc::GenericCallbackServerContext& context) {
  CallFacts facts;
  if (options_.insecure) {
    facts.caller = {.site = Metadata(context, kSiteKey), .role = kSiteRole};
    if (!facts.caller.site.empty()) DS_RETURN_IF_ERROR(CheckSiteName(facts.caller.site));
    return facts;
  }
  const auto certificates = context.auth_context()->FindPropertyValues("x509_pem_cert");
  if (certificates.empty()) return facts;
  return ReadFacts(std::string(certificates[0].data(), certificates[0].size()));
}

absl::StatusOr<CallFacts> Gatekeeper::ReadFacts(const std::string& pem) {
  {
    MutexLock lock(mutex_);
    const auto found = known_.find(pem);
    if (found != known_.end()) return found->second;
  }
  CallFacts facts;
  DS_ASSIGN_OR_RETURN(facts.caller, PeerIdentity(pem));
  DS_ASSIGN_OR_RETURN(const CertificateFacts certificate, ReadCertificate(pem));
  facts.expires = certificate.not_after;
  MutexLock lock(mutex_);
  if (known_.size() >= kMaxKnown) known_.clear();
  known_.emplace(pem, facts);
  return facts;
}

}  // namespace ds::federated
