#include "fovea/core/listed.h"

#include <gtest/gtest.h>

namespace fovea {
namespace {

TEST(Listed, JoinsNamesAsASentenceDoes) {
  EXPECT_EQ(listed({}, "and"), "");
  EXPECT_EQ(listed({"q"}, "and"), "q");
  EXPECT_EQ(listed({"q", "k"}, "or"), "q or k");
  EXPECT_EQ(listed({"q", "k", "v"}, "and"), "q, k and v");
}

}  // namespace
}  // namespace fovea
