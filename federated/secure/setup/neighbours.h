// Who holds whose shares and masks with whom, and how many shares give a secret. Up to 255 sites
// everybody with everybody; above, each with kDegree neighbours on a ring whose order is drawn from
// all sites' nonces (Bell et al., CCS 2020, section 4): they were committed to before anybody's was
// open, so that neither the aggregator nor a site chooses who is next to whom.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "federated/secure/crypto/crypto.h"

namespace ds::federated::secure {

constexpr int kMostComplete = 255;  // sites; shares have so many points
constexpr int kDegree = 128;        // neighbours on the ring, half of them on each side

class Neighbours {
 public:
  // `order`: of the ring, from the nonces; not looked at up to kMostComplete sites. `threshold`:
  // of the roster.
  Neighbours(int sites, int threshold, int colluders, const Bytes32& order);

  int sites() const { return static_cast<int>(holders_.size()); }
  // Ascending; the site itself is among them. They hold its shares, at the points 1, 2, ...
  absl::Span<const int> Holders(int site) const { return holders_[site]; }
  bool Adjacent(int a, int b) const { return PointOf(a, b) != 0; }
  // `holder`'s point in shares of `owner`; 0: none.
  uint8_t PointOf(int owner, int holder) const;
  // Shares that give a secret.
  int share_threshold() const { return share_threshold_; }

 private:
  std::vector<std::vector<int>> holders_;
  int share_threshold_;
};

// Colluders among `degree` neighbours that are drawn from the other sites, of which `colluders`
// are: the count that is exceeded at some site with a chance below 2^-40.
int MostColludingNeighbours(int sites, int colluders, int degree);

}  // namespace ds::federated::secure
