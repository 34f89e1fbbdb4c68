#include "federated/secure/setup/neighbours.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"

namespace ds::federated::secure {
namespace {

constexpr double kChance = 0x1p-40;

// std::lgamma writes a global variable.
double LogFactorial(int n) {
  int sign = 0;
  return lgamma_r(n + 1.0, &sign);
}

double LogChoose(int n, int k) { return LogFactorial(n) - LogFactorial(k) - LogFactorial(n - k); }

// Fisher and Yates' shuffle by a stream of hashes; a draw is 64 bits wide, so its bias is below
// 2^-50.
std::vector<int> RingOrder(int sites, const Bytes32& order) {
  std::vector<int> ring(sites);
  std::iota(ring.begin(), ring.end(), 0);
  for (int i = sites - 1; i > 0; --i) {
    const Bytes32 hash = HashFields("ring", {View(order), std::to_string(i)});
    uint64_t draw = 0;
    for (int byte = 0; byte < 8; ++byte) draw = draw << 8 | hash[byte];
    std::swap(ring[i], ring[draw % static_cast<uint64_t>(i + 1)]);
  }
  return ring;
}

}  // namespace

int MostColludingNeighbours(int sites, int colluders, int degree) {
  const int most = std::min(colluders, degree);
  // The tail of the hypergeometric distribution, summed from its far end.
  double tail = 0;
  for (int k = most; k > 0; --k) {
    if (degree - k > sites - 1 - colluders) continue;
    tail += std::exp(LogChoose(colluders, k) + LogChoose(sites - 1 - colluders, degree - k) -
                     LogChoose(sites - 1, degree));
    if (tail * sites >= kChance) return k;
  }
  return 0;
}

Neighbours::Neighbours(int sites, int threshold, int colluders, const Bytes32& order)
    : holders_(sites), share_threshold_(threshold) {
  if (sites <= kMostComplete) {
    std::vector<int> all(sites);
    std::iota(all.begin(), all.end(), 0);
    for (std::vector<int>& holders : holders_) holders = all;
    return;
  }
  const std::vector<int> ring = RingOrder(sites, order);
  for (int at = 0; at < sites; ++at) {
    std::vector<int>& holders = holders_[ring[at]];
    for (int step = -kDegree / 2; step <= kDegree / 2; ++step)
      holders.push_back(ring[(at + step + sites) % sites]);
    std::sort(holders.begin(), holders.end());
  }
  // As of the roster: 2t > N + c, of a neighbourhood.
  const int within = MostColludingNeighbours(sites, colluders, kDegree);
  share_threshold_ = (kDegree + 1 + within) / 2 + 1;
}

uint8_t Neighbours::PointOf(int owner, int holder) const {
  const std::vector<int>& holders = holders_[owner];
  const auto found = std::lower_bound(holders.begin(), holders.end(), holder);
  if (found == holders.end() || *found != holder) return 0;
  return static_cast<uint8_t>(found - holders.begin() + 1);
}

}  // namespace ds::federated::secure
