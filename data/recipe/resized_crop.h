// Where RandomResizedCrop looks (Szegedy et al. 2015, section 6).
#pragma once

#include <cstdint>

#include "data/dataset.h"
#include "data/sample_random.h"

namespace ds {

// A part of between `least` and all of the area, its width / height between 3/4 and 4/3,
// log-uniform; after ten tries that do not fit, the largest part in the middle that has such a
// ratio. As torchvision's RandomResizedCrop draws it, from other numbers.
PixelBox DrawResizedCrop(double least, int64_t height, int64_t width, SampleRandom& random);

}  // namespace ds
