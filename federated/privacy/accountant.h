// What releases cost: Rényi differential privacy (Mironov 2017) at a fixed list of orders, added
// up, and turned into (epsilon, delta) by Canonne, Kamath, Steinke 2020, proposition 12. Within 1%
// of the epsilons of Google's dp-accounting (tests/federated/privacy/accountant_peer_test.py).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ds::federated {

// One noisy sum that is let out.
struct Release {
  // discrete_gaussian | skellam | central, as PrivacyOptions'; gaussian: the continuous one.
  std::string mechanism;
  double sensitivity = 0;  // L2 of one site's update, levels, > 0
  double variance = 0;     // of all the noise in the sum, levels², > 0
  // discrete_gaussian: the sum of so many sites' shares is not quite a discrete Gaussian (Kairouz,
  // Liu, Steinke 2021, proposition 14); central, skellam: not used.
  int64_t sharers = 1;
  int64_t dimension = 1;  // values, >= 1
  // Share of the sites that the round drew; below 1 only where who was drawn stays hidden from
  // whoever sees the releases. Poisson: each by itself; fixed: so many without replacement.
  double sampling_rate = 1;
  std::string sampling = "none";  // none | poisson | fixed
};

class Accountant {
 public:
  Accountant();

  // InvalidArgument for a release out of range, or one whose sampling is not known for its
  // mechanism. On an error nothing was added.
  absl::Status Add(const Release& release, int64_t times = 1);
  // The least epsilon at `delta`, in (0, 1); 0 for no release. Infinite where nothing is known.
  double Epsilon(double delta) const;
  // Rényi divergences so far, at Orders().
  const std::vector<double>& rdp() const { return rdp_; }
  static const std::vector<double>& Orders();

 private:
  std::vector<double> rdp_;
};

}  // namespace ds::federated
