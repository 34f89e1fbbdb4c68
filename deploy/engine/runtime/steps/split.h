// How a convolution's work is split among threads: by pixels, or, where there are few of them (a
// classifier's last layer), by blocks of output channels.
#pragma once

#include <algorithm>
#include <cstdint>

#include "deploy/engine/runtime/kernels/args.h"

namespace ds::engine {

inline int64_t Macs(const ConvShape& shape) {
  return int64_t{shape.Pixels()} * shape.groups * shape.out_channels * shape.Depth();
}

class PixelsOrChannels {
 public:
  explicit PixelsOrChannels(const ConvShape& shape)
      : pixels_(shape.Pixels()),
        channels_(shape.out_channels),
        by_channels_(pixels_ < kFewPixels && channels_ >= 2 * kChannelBlock) {}

  int32_t units() const {
    return by_channels_ ? static_cast<int32_t>(RoundUp(channels_, kChannelBlock) / kChannelBlock)
                        : pixels_;
  }
  // Calls with rows and columns.
  template <typename Call>
  void Run(Range units, Call call) const {
    if (by_channels_) {
      call(Range{0, pixels_},
           Range{units.begin * kChannelBlock, std::min(units.end * kChannelBlock, channels_)});
    } else {
      call(units, Range{0, channels_});
    }
  }

 private:
  static constexpr int32_t kFewPixels = 64;
  int32_t pixels_, channels_;
  bool by_channels_;
};

}  // namespace ds::engine
