// Whether somebody watches a descriptor, and how wide their terminal is. Linux.
//
// Under mpirun isatty(1) says nothing: mpirun gives every rank a pseudo-terminal of its own, and
// copies what comes out of it to wherever its own output goes, which may be a file. So a terminal
// that is not the one our session runs on is only a pipe in disguise, and what counts is the output
// of the process that reads it: the nearest ancestor whose descriptor is another one
// (/proc/<pid>/fd/<fd>).
#pragma once

namespace ds {

// True if what is written to `fd` appears on a terminal. False where that cannot be told.
bool PersonIsLooking(int fd);
// Columns of the terminal that PersonIsLooking found behind `fd`; 80 where it does not say.
int TerminalWidth(int fd);

}  // namespace ds
