#include "tests/comm/mpi/check_on_mpi.h"
#include "tests/contract/communicator_contract.h"

int main() { return ds::CheckOnMpi(ds::CheckContract); }
