// Freed memory kept for the next step. A training step allocates the same activations again and
// again, each of several MB; glibc hands such blocks back to the system when they are freed and
// gets them again page by page, which costs up to a quarter of a step on the processor.
#pragma once

namespace ds {

// Makes malloc of this process keep what is freed (peak use is unchanged, the use between steps
// stays at the peak). For programs that train, once, before the first step; not for libraries. Does
// nothing where malloc is not glibc's.
void KeepFreedMemory();

}  // namespace ds
