#include "quant/repair/bias_range.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "quant/axis_split.h"

namespace ds {
namespace {

// Rounding to the nearest code adds at most so much.
constexpr double kHalfACode = 0.5;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class Channel {
 public:
  Channel(const LayerSums& layer, const AxisSplit& split, int64_t index, const QuantType& type)
      : layer_(layer),
        split_(split),
        index_(index),
        most_code_(std::max(-type.min(), type.max())),
        bias_(layer.bias.empty() ? 0 : std::abs(static_cast<double>(layer.bias[index]))) {
    const double products = static_cast<double>(split.outer * split.inner);
    sums_always_fit_ =
        products * most_code_ * static_cast<double>(layer.most_input) + kMostBiasCode <= kMostSum;
  }

  bool Fits(float scale) const {
    const double product = Product(scale);
    if (!std::isnormal(static_cast<float>(product)) || bias_ > kMostBiasCode * product)
      return false;
    return sums_always_fit_ || ProductSum(scale) + bias_ / product + kHalfACode <= kMostSum;
  }

  // The least scale that fits, given that `scale` does not; Inf if there is none.
  float Raise(float scale) const {
    float fits = scale, fails = scale;
    while (!Fits(fits)) {
      fails = fits;
      fits *= 2;
      if (fits == kInfinity) return kInfinity;
    }
    while (std::nextafter(fails, kInfinity) < fits) {
      const float middle = fails + (fits - fails) / 2;
      (Fits(middle) ? fits : fails) = middle;
    }
    return fits;
  }

 private:
  // A product of fp32, as the exporter makes it.
  double Product(float scale) const { return static_cast<double>(scale * layer_.input_scale); }

  double ProductSum(float scale) const {
    double codes = 0;
    for (int64_t o = 0; o < split_.outer; ++o) {
      const float* from = layer_.weights.data() + (o * split_.extent + index_) * split_.inner;
      for (int64_t i = 0; i < split_.inner; ++i)
        codes +=
            std::min(most_code_, std::nearbyint(std::abs(static_cast<double>(from[i])) / scale));
    }
    return codes * static_cast<double>(layer_.most_input);
  }

  const LayerSums& layer_;
  const AxisSplit& split_;
  const int64_t index_;
  const double most_code_;
  const double bias_;
  bool sums_always_fit_ = false;
};

}  // namespace

int64_t MostInput(const QuantParams& input) {
  const int64_t zero = input.zero_points[0];
  return std::max(input.type.max() - zero, zero - input.type.min());
}

std::vector<int64_t> RaiseScalesForInt32(const LayerSums& layer, QuantParams& params) {
  const bool whole = params.axis == QuantParams::kWholeTensor;
  std::vector<int64_t> raised;
  if (params.group != 0 || (!whole && params.axis != layer.channel_axis)) return raised;
  const AxisSplit split = SplitAt(layer.shape, layer.channel_axis);
  for (int64_t index = 0; index < split.extent; ++index) {
    float& scale = params.scales[whole ? 0 : static_cast<size_t>(index)];
    const Channel channel(layer, split, index, params.type);
    if (channel.Fits(scale)) continue;
    scale = channel.Raise(scale);
    raised.push_back(index);
  }
  return raised;
}

}  // namespace ds
