// What a compressed all-reduce must do on any communicator, as functions that each rank runs on its
// own.
#pragma once

#include <string>
#include <vector>

#include "comm/communicator.h"

namespace ds {

// Against the serial simulation, bit for bit, with every codec, several groupings of tensors into
// buckets, chunks and threads; skipped steps; bytes on the wire. Collective. Returns what went
// wrong on this rank.
std::vector<std::string> CheckCompressedAllReduce(Communicator& communicator);

}  // namespace ds
