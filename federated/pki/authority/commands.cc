#include "federated/pki/authority/commands.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file/file.h"
#include "base/status.h"
#include "federated/pki/certificate.h"
#include "federated/pki/identity.h"
#include "federated/pki/site_files.h"
#include "federated/pki/token.h"

namespace ds::federated {
namespace {

absl::StatusOr<absl::Duration> ParseSpan(const std::string& text) {
  absl::Duration span;
  if (absl::ParseDuration(text, &span)) return span;
  return absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is no span of time, such as 24h, 90m or 1h30m"));
}

std::string Until(absl::Time end, absl::Time now) {
  return absl::StrFormat("%s (%d days)", DateText(end), (end - now) / absl::Hours(24));
}

}  // namespace

absl::StatusOr<CommandText> InitCommand(const std::string& folder, const std::string& name,
                                        const std::vector<std::string>& hosts,
                                        const AuthorityOptions& options) {
  if (hosts.empty())
    return absl::InvalidArgumentError("name at least one host by which sites call the aggregator");
  DS_ASSIGN_OR_RETURN(const auto authority, Authority::Make(folder, name, options));
  DS_RETURN_IF_ERROR(authority->IssueServer(name, hosts));
  return CommandText{
      absl::StrCat(authority->fingerprint(), "\n"),
      absl::StrCat("The authority '", name, "' is in ", folder, ". Above is its fingerprint ",
                   "(SHA-256); every token carries it.\nThe aggregator's identity, for ",
                   absl::StrJoin(hosts, ", "), ", is ", ServerFile(folder), ".\nKeep ", folder,
                   "/authority.key secret: whoever has it is every site.\n")};
}

absl::StatusOr<CommandText> TokenCommand(const std::string& folder, const std::string& site,
                                         const std::string& role, const std::string& valid_for,
                                         const AuthorityOptions& options) {
  DS_ASSIGN_OR_RETURN(const absl::Duration span, ParseSpan(valid_for));
  DS_ASSIGN_OR_RETURN(const auto authority, Authority::Open(folder, options));
  DS_ASSIGN_OR_RETURN(const std::string token, authority->IssueToken(site, role, span));
  return CommandText{
      absl::StrCat(token, "\n"),
      absl::StrCat("For ", role, " '", site, "', once, until ", DateText(options.clock() + span),
                   ".\nHand it over by a way that you trust. The authority's fingerprint in it is ",
                   authority->fingerprint(), ".\n")};
}

absl::StatusOr<CommandText> ListCommand(const std::string& folder,
                                        const AuthorityOptions& options) {
  DS_ASSIGN_OR_RETURN(const auto authority, Authority::Open(folder, options));
  DS_ASSIGN_OR_RETURN(const auto certificates, authority->Certificates());
  DS_ASSIGN_OR_RETURN(const auto tokens, authority->Tokens());
  const absl::Time now = options.clock();
  std::string text =
      absl::StrFormat("%-32s  %-10s  %-20s  %s\n", "certificate", "role", "site", "in force until");
  for (const IssuedCertificate& issued : certificates) {
    absl::StrAppendFormat(&text, "%-32s  %-10s  %-20s  %s\n", issued.serial, issued.role,
                          issued.site,
                          issued.revoked           ? "revoked"
                          : issued.not_after < now ? "expired"
                                                   : Until(issued.not_after, now));
  }
  absl::StrAppendFormat(&text, "\n%-32s  %-10s  %-20s  %s\n", "token", "role", "site", "state");
  for (const IssuedToken& token : tokens) {
    absl::StrAppendFormat(&text, "%-32s  %-10s  %-20s  %s\n", token.id, token.role, token.site,
                          token.used ? "used"
                          : token.expires <= now
                              ? "expired"
                              : absl::StrCat("unused, until ", DateText(token.expires)));
  }
  return CommandText{text, ""};
}

absl::StatusOr<CommandText> RevokeCommand(const std::string& folder,
                                          const std::string& site_or_serial,
                                          const AuthorityOptions& options) {
  DS_ASSIGN_OR_RETURN(const auto authority, Authority::Open(folder, options));
  DS_ASSIGN_OR_RETURN(const std::vector<std::string> revoked, authority->Revoke(site_or_serial));
  return CommandText{absl::StrCat(absl::StrJoin(revoked, "\n"), revoked.empty() ? "" : "\n"),
                     absl::StrCat(revoked.size(), " certificates of '", site_or_serial,
                                  "' revoked. A running aggregator that uses ",
                                  RevocationFile(folder), " refuses them within a second.\n")};
}

absl::StatusOr<CommandText> RenewServerCommand(const std::string& folder,
                                               const std::vector<std::string>& hosts,
                                               const AuthorityOptions& options) {
  DS_ASSIGN_OR_RETURN(const auto authority, Authority::Open(folder, options));
  DS_ASSIGN_OR_RETURN(const Credentials old, ReadCredentials(ServerFile(folder)));
  DS_ASSIGN_OR_RETURN(const CertificateFacts before, ReadCertificate(old.certificate));
  DS_RETURN_IF_ERROR(authority->IssueServer(before.site, hosts));
  DS_ASSIGN_OR_RETURN(const Credentials renewed, ReadCredentials(ServerFile(folder)));
  DS_ASSIGN_OR_RETURN(const CertificateFacts after, ReadCertificate(renewed.certificate));
  return CommandText{
      absl::StrCat(after.serial, "\n"),
      absl::StrCat("The aggregator's new certificate is for ", absl::StrJoin(after.hosts, ", "),
                   ", in force until ", DateText(after.not_after),
                   ". A running aggregator takes it over by itself.\n")};
}

absl::StatusOr<CommandText> RequestCommand(const std::string& site_folder, const std::string& site,
                                           const std::string& role, const std::string& request) {
  DS_ASSIGN_OR_RETURN(const std::string text, PrepareRequest(site_folder, site, role));
  DS_RETURN_IF_ERROR(WriteFileAtomically(request, text));
  return CommandText{
      absl::StrCat(request, "\n"),
      absl::StrCat("Bring ", request, " to the authority (ds_pki enrol). The key stays in ",
                   site_folder, ".\n")};
}

absl::StatusOr<CommandText> EnrolCommand(const std::string& folder, const std::string& token,
                                         const std::string& request, const std::string& reply,
                                         const AuthorityOptions& options) {
  DS_ASSIGN_OR_RETURN(const auto authority, Authority::Open(folder, options));
  DS_ASSIGN_OR_RETURN(std::string text, ReadFile(request));
  DS_ASSIGN_OR_RETURN(const EnrolReply answer,
                      authority->Enrol({.token = token, .signing_request = std::move(text)}));
  DS_RETURN_IF_ERROR(WriteFileAtomically(reply, answer.certificates + answer.authority));
  return CommandText{absl::StrCat(reply, "\n"),
                     absl::StrCat("Bring ", reply, " to the site (ds_pki install).\n")};
}

absl::StatusOr<CommandText> InstallCommand(const std::string& site_folder, const std::string& site,
                                           const std::string& role, const std::string& token,
                                           const std::string& reply, const WallClock& clock) {
  const auto answer = [&](const EnrolRequest&) -> absl::StatusOr<EnrolReply> {
    DS_ASSIGN_OR_RETURN(std::string certificates, ReadFile(reply));
    return EnrolReply{.certificates = std::move(certificates)};
  };
  DS_RETURN_IF_ERROR(EnrolSite(site_folder, token, site, role, answer, clock));
  return CommandText{absl::StrCat(IdentityFile(site_folder), "\n"), "The site is enrolled.\n"};
}

}  // namespace ds::federated
