// The gallery, the report and the page around them.
#include "fovea/explain/page.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <sstream>

#include "fovea/core/error.h"
#include "fovea/explain/html.h"
#include "fovea/explain/page_style.h"
#include "fovea/explain/report.h"
#include "fovea/explain/view.h"
#include "fovea/models/registry.h"

namespace fovea::explain {
namespace {

// The first unbalanced tag; empty when all are closed in order.
std::string unbalanced(const std::string& html) {
  static const std::set<std::string> kVoid = {"meta", "img", "input", "br", "!doctype"};
  std::vector<std::string> open;
  const std::regex tag(R"(<(/?)([!a-zA-Z0-9]+)([^>]*)>)");
  const std::string body = std::regex_replace(html, std::regex(R"(<(style|script)>[^<]*</\1>)"), "");
  for (std::sregex_iterator it(body.begin(), body.end(), tag), end; it != end; ++it) {
    const std::string name = (*it)[2], rest = (*it)[3];
    if (kVoid.contains(name) || rest.ends_with("/")) continue;
    if ((*it)[1].length() == 0) {
      open.push_back(name);
    } else if (open.empty() || open.back() != name) {
      return "</" + name + ">";
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : "<" + open.back() + ">";
}

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

io::Image grey_image(int64_t side) { return {side, side, 1, std::vector<uint8_t>(side * side, 90)}; }

GalleryItem item(const std::string& label, const std::string& predicted) {
  ModelView view{
      "Net <1>", {{predicted, 0.75}, {"other", 0.25}}, {{"Grad-CAM", at::rand({7, 7}), 0, 2.5, ""}}, {}};
  view.grids.push_back({"by layer", {"a", "b"}, {"x", "y", "z"}, {}});
  for (int i = 0; i < 6; ++i) view.grids[0].maps.push_back(at::rand({7, 7}));
  return {"a&b.png", grey_image(28), label, {view}};
}

Report full_report() {
  Report report;
  report.title = "Title <script>alert(1)</script>";
  report.subtitle = "Sub & title";
  report.footer = "fovea report \"x\"";
  ModelReport model;
  model.title = "Net <1>";
  model.name = "net_1";
  model.top1 = 92.345;
  model.seconds = 184;
  model.parameters = 1234567;
  model.charts.push_back({"loss", "step", "loss", {{"train", {{0, 2}, {1, 1}}}}, {}, {}});
  model.confusion = {{"shirt", "coat"}, {5, 1, 2, 7}};
  report.models = {model, model};
  report.gallery = {item("shirt", "shirt"), item("shirt", "coat"), item("", "coat")};
  return report;
}

TEST(Page, IsOneFileThatFetchesNothing) {
  const std::string html = render_report(full_report());
  EXPECT_EQ(html.find("http"), std::string::npos);
  EXPECT_EQ(html.find("@import"), std::string::npos);
  EXPECT_EQ(html.find("<link"), std::string::npos);
  for (const std::string attribute : {"src=\"", "url("}) {
    for (size_t at = html.find(attribute); at != std::string::npos; at = html.find(attribute, at + 1)) {
      EXPECT_EQ(html.compare(at + attribute.size(), 5, "data:"), 0) << html.substr(at, 60);
    }
  }
  EXPECT_EQ(html.rfind("<!doctype html>", 0), 0u);
  EXPECT_NE(html.find("name=\"viewport\""), std::string::npos);
  EXPECT_NE(html.find("prefers-color-scheme:dark"), std::string::npos);
}

TEST(Page, TagsBalanceAndTextIsEscaped) {
  const std::string html = render_report(full_report());
  EXPECT_EQ(unbalanced(html), "");
  EXPECT_EQ(html.find("<script>alert"), std::string::npos);
  EXPECT_EQ(html.find("Net <1>"), std::string::npos);
  EXPECT_EQ(count(html, "<script>"), 1u);
  EXPECT_NE(html.find("a&amp;b.png"), std::string::npos);
  EXPECT_NE(html.find("fovea report &quot;x&quot;"), std::string::npos);
}

TEST(Page, ShowsTheNumbers) {
  const std::string html = render_report(full_report());
  EXPECT_NE(html.find("<b>92.34%</b>"), std::string::npos);  // 92.345 in binary lies below
  EXPECT_NE(html.find("1\xE2\x80\x89"
                      "234\xE2\x80\x89"
                      "567"),
            std::string::npos);
  EXPECT_NE(html.find("3 min 4 s"), std::string::npos);
  EXPECT_EQ(count(html, "<svg"), 2u);
  EXPECT_EQ(count(html, "class=\"confusion\""), 2u);
  EXPECT_NE(html.find("75.0%"), std::string::npos);
  EXPECT_NE(html.find("0 &ndash; 2.5"), std::string::npos);
}

TEST(Page, Top5StandsOnlyWhereSomeModelHasIt) {
  Report report = full_report();
  EXPECT_EQ(render_report(report).find("Top-5"), std::string::npos);
  report.models[1].top5 = 99.5;
  const std::string html = render_report(report);
  EXPECT_NE(html.find("<th>Top-5</th>"), std::string::npos);
  EXPECT_NE(html.find(R"(<td data-label="Top-5">99.50%</td>)"), std::string::npos);
  EXPECT_NE(html.find(R"(<td data-label="Top-5">&ndash;</td>)"), std::string::npos);
}

// Relative luminance and contrast of WCAG 2.1, of colours in [0, 255].
using Colour = std::array<double, 3>;
double luminance(const Colour& colour) {
  const auto linear = [](double v) {
    v /= 255;
    return v <= 0.03928 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4);
  };
  return 0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2]);
}

// The last --NAME of the style (dark) or the first (light), #rrggbb or three numbers.
std::string variable(const std::string& name, bool dark) {
  const std::string style = kPageStyle, key = "--" + name + ":";
  const size_t at = (dark ? style.rfind(key) : style.find(key)) + key.size();
  return style.substr(at, style.find_first_of(";}", at) - at);
}

Colour colour(const std::string& text) {
  Colour out{};
  if (text[0] == '#') {
    for (size_t i = 0; i < 3; ++i) out[i] = std::stoi(text.substr(1 + 2 * i, 2), nullptr, 16);
  } else {
    std::istringstream(text) >> out[0] >> out[1] >> out[2];
  }
  return out;
}

TEST(Page, NumbersOfTheConfusionMatrixCanBeRead) {
  for (const bool dark : {false, true}) {
    const Colour ink = colour(variable("ink", dark)), paper = colour(variable("paper", dark));
    const double shade = std::stod(variable("shade", dark));
    for (const char* name : {"accent", "miss"}) {
      const Colour full = colour(variable(name, dark));
      for (double s = 0; s <= 1; s += 0.05) {
        Colour cell;
        for (size_t i = 0; i < 3; ++i) cell[i] = full[i] * s * shade + paper[i] * (1 - s * shade);
        const double a = luminance(cell), b = luminance(ink);
        EXPECT_GE((std::max(a, b) + 0.05) / (std::min(a, b) + 0.05), 4.5) << name << " at " << s << dark;
      }
    }
  }
  EXPECT_EQ(confusion_html({{"a", "b"}, {9, 1, 2, 8}}).find("deep"), std::string::npos);
}

TEST(Page, EmptyReportIsStillAPage) {
  const std::string html = render_report({});
  EXPECT_EQ(unbalanced(html), "");
  EXPECT_EQ(html.find("<section>"), std::string::npos);
}

TEST(Gallery, KnowsRightFromWrong) {
  EXPECT_FALSE(has_error(item("shirt", "shirt")));
  EXPECT_TRUE(has_error(item("shirt", "coat")));
  EXPECT_FALSE(has_error(item("", "coat")));
  const std::string html = gallery_html({item("shirt", "shirt"), item("shirt", "coat"), item("", "coat")});
  EXPECT_EQ(count(html, "data-state=\"right\""), 1u);
  EXPECT_EQ(count(html, "data-state=\"wrong\""), 1u);
  EXPECT_EQ(count(html, "data-state=\"none\""), 1u);
  EXPECT_NE(html.find(">Wrong 1<"), std::string::npos);
  EXPECT_EQ(count(html, "class=\"heat\""), 3u);
  EXPECT_EQ(count(html, "class=\"heat cells\""), 18u);
  // Without labels there is nothing to filter.
  EXPECT_EQ(gallery_html({item("", "coat")}).find("data-show"), std::string::npos);
}

TEST(Gallery, RefusesAGridThatDoesNotFit) {
  GalleryItem bad = item("a", "a");
  bad.views[0].grids[0].maps.pop_back();
  EXPECT_THROW(gallery_html({bad}), Error);
}

TEST(Gallery, StaysSmall) {
  std::vector<GalleryItem> items(24, item("shirt", "coat"));
  EXPECT_LT(gallery_html(items).size(), 24u * 8000);
  // A photograph is shrunk before it is embedded.
  at::manual_seed(1);
  GalleryItem photo = item("a", "a");
  photo.image = {2000, 1500, 3, std::vector<uint8_t>(2000 * 1500 * 3)};
  for (size_t i = 0; i < photo.image.pixels.size(); ++i)
    photo.image.pixels[i] = uint8_t((i * 2654435761u) >> 13);
  EXPECT_LT(gallery_html({photo}).size(), 120000u);
}

TEST(View, HoldsPredictionMapsAndGrids) {
  at::manual_seed(3);
  const auto vit = models::make_image_model("vit_tiny", {{"img_size", 16},
                                                         {"patch_size", 4},
                                                         {"embed_dim", 32},
                                                         {"depth", 3},
                                                         {"num_heads", 2},
                                                         {"in_chans", 1},
                                                         {"num_classes", 5}});
  const auto image = at::randn({1, 1, 16, 16});
  ViewOptions options;
  options.title = "ViT";
  options.class_names = {"a", "b", "c"};
  options.methods = {"rollout", "gradcam"};
  const auto [view, explanations] = view_image(*vit, image, options);
  ASSERT_EQ(explanations.size(), 2u);
  EXPECT_EQ(explanations[1].method, "gradcam");
  EXPECT_EQ(view.maps[1].note, "blocks.2.norm1");
  vit->eval();
  const auto probabilities = vit->forward(image)[0].softmax(-1);
  ASSERT_EQ(view.scores.size(), 3u);
  const auto best = probabilities.argmax().item<int64_t>();
  EXPECT_EQ(view.scores[0].name, best < 3 ? options.class_names[best] : std::to_string(best));
  EXPECT_NEAR(view.scores[0].probability, probabilities.max().item<double>(), 1e-6);
  EXPECT_GE(view.scores[0].probability, view.scores[1].probability);
  ASSERT_EQ(view.maps.size(), 2u);
  EXPECT_EQ(view.maps[0].method, "Attention rollout");
  EXPECT_EQ(view.maps[0].map.sizes(), at::IntArrayRef({16, 16}));
  ASSERT_EQ(view.grids.size(), 1u);
  EXPECT_EQ(view.grids[0].rows.size(), 3u);
  EXPECT_EQ(view.grids[0].columns.size(), 2u);
  EXPECT_EQ(view.grids[0].maps.size(), 6u);

  const auto resnet = models::make_image_model("resnet8", {{"in_chans", 1}, {"num_classes", 5}});
  ViewOptions plain;
  plain.title = "ResNet";
  const ModelView other = view_image(*resnet, image, plain).view;
  EXPECT_EQ(other.maps.at(0).method, "Grad-CAM");
  EXPECT_EQ(other.grids.at(0).columns, (std::vector<std::string>{"layer1.0", "layer2.0", "layer3.0"}));
  EXPECT_TRUE(resnet->is_training());
  EXPECT_EQ(unbalanced(gallery_html({{"x", grey_image(16), "a", {view, other}}})), "");
}

}  // namespace
}  // namespace fovea::explain
