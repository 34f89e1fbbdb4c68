// For accountant_peer_test.py: reads lines "sampling rate noise_multiplier releases delta" of the
// continuous Gaussian, writes an epsilon a line. The noise multiplier is relative to how far
// neighbours are apart, whatever the sampling.
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <string>

#include "federated/privacy/accountant.h"

int main() {
  std::string sampling;
  double rate = 0, multiplier = 0, delta = 0;
  int64_t releases = 0;
  while (std::cin >> sampling >> rate >> multiplier >> releases >> delta) {
    ds::federated::Release release;
    release.mechanism = "gaussian";
    release.sensitivity = sampling == "fixed" && rate < 1 ? 0.5 : 1;
    release.variance = multiplier * multiplier;
    release.sampling = sampling;
    release.sampling_rate = rate;
    ds::federated::Accountant accountant;
    if (const absl::Status status = accountant.Add(release, releases); !status.ok()) {
      std::cerr << status << "\n";
      return 1;
    }
    std::printf("%.17g\n", accountant.Epsilon(delta));
  }
  return 0;
}
