#include "deploy/qdq.h"
#include "gtest/gtest.h"
namespace ds { namespace { TEST(QdqTest, Placeholder) {} } }
