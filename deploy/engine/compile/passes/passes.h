// Rewrites of a program that leave what it computes as it is, to the bit where it is of codes. What
// a pass looks at and leaves says why (Step::stays).
#pragma once

#include <cstdint>

#include "deploy/engine/compile/program.h"

namespace ds::engine::compile {

// A table whose codes one convolution, sum or product makes for it alone goes into that one; one
// that only clamps becomes its bounds.
void FuseTables(Program& program);

// A sum of codes of equal dims becomes the last step of the convolution that makes an operand for
// it alone; where both are made so, of the later one. The same of floats.
void FuseSums(Program& program);

// An activation of floats goes into the convolution or arithmetic that makes its input for it
// alone.
void FuseActivations(Program& program);

// Weights of a convolution that all lie in [-8, 7] are stored in 4 bits.
void PackFourBits(Program& program);

// The average of each channel of an image, two products of 1x1 behind it and the multiplication of
// the image by what they give (Hu et al., "Squeeze-and-Excitation Networks", 2018) become one step,
// where each is made for the next alone.
void FuseSqueezeExcites(Program& program);

// What a concatenation along the densest dim joins is written where it belongs, as slices of the
// result; inputs that other steps read rearranged, and what lies elsewhere, are still copied.
void JoinWithoutCopies(Program& program);

// Convolutions of codes of which each reads what the one before it makes for it alone become one
// step, which has what is between them in bands of rows instead of memory: where that image has at
// least `least_bytes`, and is no larger than what its maker reads. From the front, up to
// file::kMostStages each. kNoChains: only says that none is worth it.
void FuseChains(Program& program, int64_t least_bytes);
inline constexpr int64_t kNoChains = INT64_MAX;

// Says of what turns codes into floats or back, or elements into another order, for whom it does.
void NoteConversions(Program& program);

}  // namespace ds::engine::compile
