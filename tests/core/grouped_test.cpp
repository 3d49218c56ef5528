#include "fovea/core/grouped.h"

#include <gtest/gtest.h>

#include <limits>

namespace fovea {
namespace {

TEST(Grouped, PutsASeparatorBetweenThousands) {
  EXPECT_EQ(grouped_number(0, ","), "0");
  EXPECT_EQ(grouped_number(999, ","), "999");
  EXPECT_EQ(grouped_number(1000, ","), "1,000");
  EXPECT_EQ(grouped_number(21797672, ","), "21,797,672");
  EXPECT_EQ(grouped_number(-999, ","), "-999");
  EXPECT_EQ(grouped_number(-1234, "\xE2\x80\x89"),
            "-1\xE2\x80\x89"
            "234");
  EXPECT_EQ(grouped_number(std::numeric_limits<int64_t>::min(), ","), "-9,223,372,036,854,775,808");
}

}  // namespace
}  // namespace fovea
