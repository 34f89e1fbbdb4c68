#include "tests/comm/compress/compressor_contract.h"
#include "tests/comm/mpi/check_on_mpi.h"

int main() { return ds::CheckOnMpi(ds::CheckCompressedAllReduce); }
