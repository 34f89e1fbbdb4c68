// How well uniform quantisation can do on normally distributed values: what measured
// signal-to-noise ratios are held against.
#pragma once

namespace ds {

// Signal-to-noise ratio in dB (10 log10 of power over mean squared error) of the best uniform
// quantiser of 2^bits levels, symmetric about 0, for a normal variable (Max 1960, "Quantizing for
// minimum distortion", table II). bits in 1..8. The first call for a width searches, later ones
// look up; any thread.
double GaussianSignalToNoise(int bits);

}  // namespace ds
