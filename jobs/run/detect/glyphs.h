// Letters of 5 x 7 pixels, for captions in pictures.
#pragma once

#include <array>
#include <cstdint>

namespace ds {

inline constexpr int kGlyphHeight = 7, kGlyphWidth = 5;

// A row a number, its leftmost pixel the bit of 1 << (kGlyphWidth - 1).
using Glyph = std::array<uint8_t, kGlyphHeight>;

// Capitals (small letters are drawn as such), digits, space and ".-_/%"; a question mark for all
// else.
const Glyph& GlyphOf(char letter);

}  // namespace ds
