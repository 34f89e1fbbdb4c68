// Rényi divergences of one release, order by order: of the mechanisms, and of mechanisms on a drawn
// share of the sites.
#pragma once

#include <functional>

namespace ds::federated {

// An upper bound on the Rényi divergence of an order above 1.
using RdpCurve = std::function<double(double order)>;

// All sums are kept as logarithms.
double LogAdd(double a, double b);

// The Gaussian of `noise_multiplier` on a Poisson draw of rate 0 < q < 1, neighbours by one site
// more (Mironov, Talwar, Zhang 2019, "Rényi differential privacy of the sampled Gaussian
// mechanism", section 3.3).
double PoissonGaussianRdp(double q, double noise_multiplier, double order);

// Any mechanism on a share 0 < q < 1 drawn without replacement, neighbours by one site replaced
// (Wang, Balle, Kasiviswanathan 2019, "Subsampled Rényi differential privacy and analytical
// moments accountant", theorem 9); between integer orders by their corollary 10.
double FixedSampleRdp(double q, const RdpCurve& mechanism, double order);
// The Gaussian's own, tighter (their theorem 27 and its remark).
RdpCurve FixedSampleGaussian(double q, double noise_multiplier);

}  // namespace ds::federated
