// Memory whose end is the end of a page with nothing behind it: for tests of libraries that write
// where they should not.
#pragma once

namespace ds {

// From now on LibTorch's tensors and oneDNN's workspaces, which come from the same allocator, lie
// between pages that may not be touched. Each begins at a multiple of 64 bytes and is filled with
// NaNs; the process dies by SIGSEGV where something reads or writes a page beside it or memory that
// was freed, by SIGABRT where the fewer than 64 bytes between a block's end and its page's are
// found changed. Before the first tensor is made.
void GuardTensorMemory();

}  // namespace ds
