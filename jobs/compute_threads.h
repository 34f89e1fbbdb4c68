// Threads of a program that runs alone.
#pragma once

namespace ds {

// LibTorch computes with `asked` threads from now on; 0: with as many as there are cores
// (base/cpu/available_cores.h), no more than OMP_NUM_THREADS says.
void UseThreads(int asked);

}  // namespace ds
