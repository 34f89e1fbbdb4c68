// A run of secure aggregation without a network: N sites over vaults in memory, their aggregator,
// and one call for each step, so that a test can leave out, repeat or forge any of them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "federated/secure/secure_agent.h"
#include "federated/secure/secure_server.h"
#include "federated/update/integers.h"
#include "tests/federated/secure/test_identity.h"
#include "tests/federated/secure/test_vault.h"

namespace ds::federated {

class SecureRun {
 public:
  using Sites = std::set<int>;

  SecureRun(int sites, const SecureOptions& options, const SecureFloors& floors = {});

  int sites() const { return static_cast<int>(names_.size()); }
  const std::string& name(int site) const { return names_[site]; }
  std::vector<std::string> Names(const Sites& sites) const;
  SecureAgent& agent(int site) { return *agents_[site]; }
  TestVault& vault(int site) { return *vaults_[site]; }
  SecureServer& server() { return *server_; }
  std::shared_ptr<const TestAuthority> authority() const { return authority_; }
  std::shared_ptr<const SiteIdentity> identity(int site) const { return identities_[site]; }
  Sites All() const;
  // The site's process ends and begins again on its vault.
  absl::Status Restart(int site);

  // Begins an epoch: a new server.
  absl::Status NewServer(int64_t epoch);
  absl::Status Keys(const Sites& sites);
  absl::Status SharesOf(const Sites& sites);
  absl::Status Inboxes(const Sites& sites);
  // All of it; those in `without_shares` give keys only.
  absl::Status SetUp(int64_t epoch, const Sites& without_keys = {},
                     const Sites& without_shares = {});

  SecureRound Round(int64_t round, int64_t index, int bits, int64_t values) const;
  // A made-up update of the site in the round, below 2^bits.
  static IntegerVector Update(int site, const SecureRound& round, int update_bits);
  // Masks, and gives the notes along as a commit does. The masked values.
  absl::StatusOr<IntegerVector> Commit(int site, const SecureRound& round, int update_bits);
  // A whole round: commits of `uploads`, survivors, answers of `answering`, unmasked sum.
  absl::StatusOr<IntegerVector> Sum(const SecureRound& round, int update_bits, const Sites& uploads,
                                    const Sites& answering);
  static IntegerVector PlainSum(const SecureRound& round, int update_bits, const Sites& uploads);

  const SecureOptions options;
  const SecureFloors floors;

 private:
  std::shared_ptr<const TestAuthority> authority_ = std::make_shared<TestAuthority>();
  std::vector<std::string> names_;
  std::vector<std::shared_ptr<const SiteIdentity>> identities_;
  std::vector<std::shared_ptr<TestVault>> vaults_;
  std::vector<std::unique_ptr<SecureAgent>> agents_;
  std::shared_ptr<SecureHistory> history_ = SecureHistory::Create();
  std::unique_ptr<SecureServer> server_;
  int64_t epoch_ = -1;
};

}  // namespace ds::federated
