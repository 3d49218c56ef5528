#include "fovea/core/ceil_div.h"

#include <gtest/gtest.h>

namespace fovea {
namespace {

TEST(CeilDiv, CountsABlockThatIsNotFull) {
  EXPECT_EQ(ceil_div(0, 4), 0);
  EXPECT_EQ(ceil_div(1, 4), 1);
  EXPECT_EQ(ceil_div(4, 4), 1);
  EXPECT_EQ(ceil_div(5, 4), 2);
  EXPECT_EQ(ceil_div(7, 1), 7);
}

}  // namespace
}  // namespace fovea
