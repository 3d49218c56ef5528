// Patterns of mechanisms, their pictures, and the pages of docs/mechanisms that show them.
#include "fovea/explain/pattern.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>

#include "fovea/core/error.h"
#include "fovea/explain/colormap.h"
#include "fovea/nn/attention/registry.h"

namespace fovea::explain {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kPlaces = 64, kCell = 4, kGap = 12;

at::Tensor queries() { return at::arange(kPlaces).unsqueeze(1); }
at::Tensor keys() { return at::arange(kPlaces); }

// The mean over what may be seen: the weights of equal scores.
at::Tensor mean_over(const at::Tensor& seen) {
  const at::Tensor numbers = seen.to(at::kFloat);
  return (numbers / numbers.sum(1, true)).unsqueeze(0);
}

TEST(MechanismPattern, IsTheFormulaOfEqualScores) {
  const at::Tensor all = at::ones({kPlaces, kPlaces}, at::kBool), before = keys() <= queries();
  const at::Tensor near = (keys() - queries()).abs() <= 3;
  const Pattern softmax = mechanism_pattern("softmax:scale=0");
  EXPECT_TRUE(at::allclose(softmax.weights, mean_over(all)));
  EXPECT_TRUE(at::allclose(softmax.causal, mean_over(before)));
  const Pattern local = mechanism_pattern("local:scale=0,window=3");
  EXPECT_TRUE(at::allclose(local.weights, mean_over(near)));
  EXPECT_TRUE(at::allclose(local.causal, mean_over(near & before)));
  const Pattern behind = mechanism_pattern("local:scale=0,window_left=5,window_right=0");
  EXPECT_TRUE(at::allclose(behind.weights, mean_over(before & (queries() - keys() <= 5))));
}

// Of four kinds in runs of four, ABACBDACDBCADBDC: position 0 is an A, as are runs 0, 2, 6 and 11.
TEST(MechanismPattern, LikeSeesLikeAndTheNearMost) {
  const at::Tensor first = mechanism_pattern("softmax").weights[0][0];
  double alike = 0.0;
  for (const int64_t run : {0, 2, 6, 11}) alike += first.slice(0, 4 * run, 4 * run + 4).sum().item<double>();
  EXPECT_GT(alike, 0.75);
  EXPECT_GT(first[1].item<float>(), first[8].item<float>());
  EXPECT_GT(first[8].item<float>(), 3 * first[4].item<float>());
}

TEST(MechanismPattern, KeysOfAHeadAreItsRunsFurtherOn) {
  const at::Tensor heads = mechanism_pattern("softmax", 3).weights;
  ASSERT_TRUE(heads.sizes().equals({3, kPlaces, kPlaces}));
  for (const int64_t h : {1, 2}) EXPECT_TRUE(at::allclose(heads[h], heads[0].roll(-4 * h, 1), 1e-4, 1e-7));
}

// Global rows take values that layers make of x.
TEST(MechanismPattern, IsWhatTheValuesBring) {
  const at::Tensor weights =
      mechanism_pattern("longformer:window=4,global=2,global_projections=true").weights;
  EXPECT_TRUE(at::equal(weights.slice(1, 0, 2), at::zeros({1, 2, kPlaces})));
  EXPECT_TRUE(at::allclose(weights.slice(1, 2).sum(2), at::ones({1, kPlaces - 2})));
}

TEST(MechanismPattern, HasNoCausalOrderWhereThereIsNoOther) {
  for (const char* one :
       {"sparse_strided:stride=8", "forgetting", "softmax:causal=bottom_right", "channel"}) {
    EXPECT_FALSE(mechanism_pattern(one).causal.defined()) << one;
  }
}

TEST(MechanismPattern, IsAlwaysTheSameAndLeavesTheGenerator) {
  at::manual_seed(7);
  const at::Tensor next = at::rand({4});
  at::manual_seed(7);
  const Pattern once = mechanism_pattern("additive");
  EXPECT_TRUE(at::equal(at::rand({4}), next));
  EXPECT_TRUE(at::equal(mechanism_pattern("additive").weights, once.weights));
}

TEST(MechanismPattern, RefusesWhatItCannotRun) {
  const auto refused = [](const std::string& mechanism, int64_t heads, const std::string& part) {
    try {
      mechanism_pattern(mechanism, heads);
      ADD_FAILURE() << mechanism;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  refused("softmax", 0, "heads lie in 1 ... 16");
  refused("softmax", 17, "found 17");
  refused("sofmax", 1, "Did you mean 'softmax'");
  refused("softmax:block=8", 1, "no mask of blocks");
  refused("head_router:k=2", 1, "k must be at most the heads");
}

Rgb pixel_of(const io::Image& picture, int64_t y, int64_t x) {
  const uint8_t* p = picture.pixels.data() + (y * picture.width + x) * 3;
  return {p[0], p[1], p[2]};
}

TEST(PatternPicture, ShowsEachWeightInItsCell) {
  Pattern pattern{at::zeros({1, 2, 3}), at::zeros({1, 2, 3})};
  pattern.weights[0][0][1] = 0.5;
  pattern.weights[0][1][2] = 0.25;
  pattern.causal[0][1][0] = 0.125;
  pattern.causal[0][0][2] = 0.75;
  const io::Image picture = pattern_picture(pattern);
  const ColorMap& colours = color_map("viridis");
  const Rgb unseen{226, 226, 230}, paper{255, 255, 255};
  const int64_t second = 3 * kCell + kGap;
  for (const int64_t within : {int64_t{0}, kCell - 1}) {
    EXPECT_EQ(pixel_of(picture, within, within), unseen);
    EXPECT_EQ(pixel_of(picture, within, kCell + within), colours.at(1.0));
    EXPECT_EQ(pixel_of(picture, kCell + within, 2 * kCell + within), colours.at(0.5));
    EXPECT_EQ(pixel_of(picture, kCell + within, second + within), colours.at(0.25));
    EXPECT_EQ(pixel_of(picture, within, second + within), unseen);
    EXPECT_EQ(pixel_of(picture, within, second + 2 * kCell + within), colours.at(1.0));
  }
  EXPECT_EQ(pixel_of(picture, 0, 3 * kCell), paper);
  EXPECT_EQ(pixel_of(picture, 0, second - 1), paper);
}

TEST(PatternPicture, PutsHeadsBesideAndCausalOrderBelow) {
  const io::Image picture = pattern_picture({at::ones({2, 8, 8}), at::full({2, 8, 8}, 0.5)});
  const ColorMap& colours = color_map("viridis");
  const int64_t step = 8 * kCell + kGap;
  EXPECT_EQ(picture.height, 2 * step - kGap);
  EXPECT_EQ(pixel_of(picture, 0, step), colours.at(1.0));
  EXPECT_EQ(pixel_of(picture, step, step), colours.at(0.5));
}

TEST(PatternPicture, ReachesBelowZero) {
  const io::Image picture = pattern_picture({at::tensor({-1.0F, 0.0F, 1.0F}).view({1, 1, 3}), {}});
  EXPECT_EQ(pixel_of(picture, 0, 0), color_map("viridis").at(0.0));
  EXPECT_EQ(pixel_of(picture, 0, kCell), (Rgb{226, 226, 230}));
  EXPECT_EQ(pixel_of(picture, 0, 2 * kCell), color_map("viridis").at(1.0));
}

std::string text_of(const fs::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Of 255, on average over pixels and channels.
double mean_difference(const io::Image& a, const io::Image& b) {
  if (a.width != b.width || a.height != b.height || a.channels != b.channels) return 255.0;
  int64_t sum = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) sum += std::abs(a.pixels[i] - b.pixels[i]);
  return static_cast<double>(sum) / static_cast<double>(a.pixels.size());
}

// Each page names the command that drew its picture.
TEST(MechanismPages, EveryMechanismHasOneWithItsPicture) {
  const fs::path docs = fs::path(FOVEA_TEST_DATA) / "../../docs";
  const std::string index = text_of(docs / "mechanisms/index.md");
  const std::regex command(R"(\n    fovea show mechanism (\S+?)(?: --heads (\d+))? --output docs/(\S+)\n)");
  for (const auto& entry : nn::attention_entries()) {
    SCOPED_TRACE(entry.name);
    const std::string page = text_of(docs / "mechanisms" / (entry.name + ".md"));
    const std::string picture = "images/mechanisms/" + entry.name + ".png";
    for (const std::string& part :
         {"](../" + picture + ")", std::string("```cpp"), std::string("O("), std::string("\nSource")}) {
      EXPECT_NE(page.find(part), std::string::npos) << part;
    }
    EXPECT_NE(index.find("(" + entry.name + ".md)"), std::string::npos);
    EXPECT_NE(index.find("\"../" + picture + "\""), std::string::npos);
    std::smatch drawn;
    if (!std::regex_search(page, drawn, command) || drawn[3] != picture || !fs::exists(docs / picture)) {
      ADD_FAILURE() << "`fovea show mechanism " << entry.name << "... --output docs/" << picture
                    << "` must stand on its page, and have been run: scripts/draw-mechanisms.";
      continue;
    }
    EXPECT_EQ(nn::split_name(drawn[1].str()).name, entry.name);
    EXPECT_LT(fs::file_size(docs / picture), 15 * 1024U);
    const int64_t heads = drawn[2].matched ? std::stoll(drawn[2].str()) : 1;
    // Rounding differs by machine.
    EXPECT_LT(mean_difference(pattern_picture(mechanism_pattern(drawn[1].str(), heads)),
                              io::read_image(docs / picture, {.color = io::ColorMode::rgb})),
              0.5)
        << "The picture is of another time: scripts/draw-mechanisms.";
  }
}

}  // namespace
}  // namespace fovea::explain
