#include "fovea/core/nearest.h"

#include <gtest/gtest.h>

namespace fovea {
namespace {

const std::vector<std::string> kNames = {"resnet18", "resnet50", "vit_tiny", "vit_small"};

TEST(Nearest, FindsTheNearestName) {
  EXPECT_EQ(nearest_name("resnet5", kNames), "resnet50");
  EXPECT_EQ(nearest_name("vti_tiny", kNames), "vit_tiny");
  EXPECT_EQ(nearest_name("", kNames), "");
  EXPECT_EQ(nearest_name("block", {"window", "block_size"}), "block_size");
  EXPECT_EQ(nearest_name("window_size", {"block", "window"}), "window");
}

TEST(Nearest, SaysNothingAboutStrangers) {
  EXPECT_EQ(nearest_name("banana", kNames), "");
  EXPECT_EQ(nearest_name("q", {"k", "v"}), "");
  EXPECT_EQ(nearest_name("qx", {"kv", "qk"}), "qk");
  EXPECT_EQ(nearest_name("rope", {"none", "rotary"}), "");
  EXPECT_EQ(nearest_name(std::string(100000, 'x'), kNames), "");
  EXPECT_EQ(suggest_name("banana", kNames, "See fovea list."), "See fovea list.");
}

}  // namespace
}  // namespace fovea
