// How fast this processor multiplies and accumulates on registers alone, on one thread: what a
// kernel's speed is a share of.
#pragma once

#include "deploy/engine/runtime/kernels/kernels.h"

namespace ds::engine {

// Multiply-accumulates a nanosecond (GMAC/s); 0 where the instruction set has no probe.
struct Peak {
  double int8 = 0;  // AVX-512: vpdpbusd; AVX2: vpmaddubsw, vpmaddwd and vpaddd
  double fp32 = 0;  // vfmadd231ps of the same width
};

// The best of `bursts` of about a tenth of a millisecond each.
Peak MeasurePeak(Isa isa, int bursts = 15);

}  // namespace ds::engine
