// Mean and standard deviation from a histogram of bytes: the sums are exact integers, so the result
// depends neither on the order of the samples nor on the machine.
#include <array>
#include <cmath>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "trainer/data/loader.h"
#include "trainer/data/openers.h"

namespace ds {
namespace {

using Histogram = std::array<uint64_t, 256>;
using Wide = unsigned __int128;  // 255^2 * count^2 fits for any count below 2^56

void Moments(const Histogram& histogram, float* mean, float* stddev) {
  uint64_t count = 0, sum = 0, squares = 0;
  for (uint64_t value = 0; value < histogram.size(); ++value) {
    count += histogram[value];
    sum += histogram[value] * value;
    squares += histogram[value] * value * value;
  }
  const Wide spread = Wide{count} * squares - Wide{sum} * sum;  // count^2 * variance
  *mean = static_cast<float>(static_cast<double>(sum) / (255.0 * count));
  *stddev = static_cast<float>(std::sqrt(static_cast<double>(spread)) / (255.0 * count));
}

}  // namespace

absl::Status MeanAndStddev(const Dataset& dataset, int64_t limit, std::vector<float>* mean,
                           std::vector<float>* stddev) {
  const DatasetInfo& info = dataset.info();
  if (info.kind != SampleKind::kImage) return WrongKind(SampleKind::kImage);
  const int64_t samples = LimitedSize(info.size, limit);
  const int64_t area = info.height * info.width;
  if (samples == 0 || area == 0) {
    return absl::InvalidArgumentError(
        "mean and standard deviation of a data set without pixels; give them in the configuration");
  }
  std::vector<Histogram> histograms(info.channels);
  std::vector<uint8_t> pixels(info.channels * area);
  for (int64_t i = 0; i < samples; ++i) {
    int64_t label;
    DS_RETURN_IF_ERROR(dataset.ReadImage(i, absl::MakeSpan(pixels), &label));
    for (int64_t c = 0; c < info.channels; ++c) {
      Histogram& histogram = histograms[c];
      for (int64_t p = c * area; p < (c + 1) * area; ++p) ++histogram[pixels[p]];
    }
  }
  mean->resize(info.channels);
  stddev->resize(info.channels);
  for (int64_t c = 0; c < info.channels; ++c) {
    Moments(histograms[c], &(*mean)[c], &(*stddev)[c]);
  }
  return absl::OkStatus();
}

}  // namespace ds
