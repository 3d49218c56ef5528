// Colour maps, heat maps and the text of charts.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "fovea/core/error.h"
#include "fovea/explain/charts.h"
#include "fovea/explain/colormap.h"
#include "fovea/explain/heatmap.h"
#include "fovea/explain/html.h"
#include "fovea/explain/scale_bar.h"

namespace fovea::explain {
namespace {

// CIE 1976 lightness, from the sRGB standard's matrix.
double lightness(Rgb colour) {
  const auto linear = [](uint8_t c) {
    const double v = c / 255.0;
    return v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4);
  };
  const double y = 0.2126 * linear(colour.r) + 0.7152 * linear(colour.g) + 0.0722 * linear(colour.b);
  return y > 216.0 / 24389 ? 116 * std::cbrt(y) - 16 : y * 24389 / 27;
}

Rgb pixel(const io::Image& image, int64_t y, int64_t x) {
  const uint8_t* p = image.pixels.data() + (y * image.width + x) * image.channels;
  return image.channels == 1 ? Rgb{p[0], p[0], p[0]} : Rgb{p[0], p[1], p[2]};
}

io::Image grey_image(int64_t width, int64_t height) {
  io::Image image{width, height, 1, {}};
  for (int64_t i = 0; i < width * height; ++i) image.pixels.push_back(static_cast<uint8_t>(i * 37 % 256));
  return image;
}

TEST(ColorMap, LightnessRisesStrictly) {
  for (const auto& name : color_map_names()) {
    double last = -1;
    for (int i = 0; i <= 100; ++i) {
      const double now = lightness(color_map(name).at(i / 100.0));
      EXPECT_GT(now, last) << name << " at " << i;
      last = now;
    }
    EXPECT_GT(last, 85) << name;
  }
}

TEST(ColorMap, EqualsMatplotlibsWithinSeven) {
  std::ifstream file(FOVEA_TEST_DATA "/explain/colormaps.json");
  const auto golden = nlohmann::json::parse(file);
  ASSERT_EQ(golden.size(), 3u);
  for (const auto& [name, rows] : golden.items()) {
    ASSERT_EQ(rows.size(), 52u);
    for (size_t i = 0; i < rows.size(); ++i) {
      const Rgb ours = color_map(name).at(static_cast<double>(5 * i) / 255);
      EXPECT_LE(std::abs(ours.r - rows[i][0].get<int>()), 7) << name << " " << i;
      EXPECT_LE(std::abs(ours.g - rows[i][1].get<int>()), 7) << name << " " << i;
      EXPECT_LE(std::abs(ours.b - rows[i][2].get<int>()), 7) << name << " " << i;
    }
  }
}

TEST(ColorMap, OklabComesBackAndWhiteIsOne) {
  for (int r = 0; r < 256; r += 15) {
    for (int g = 0; g < 256; g += 15) {
      for (int b = 0; b < 256; b += 15) {
        const Rgb colour{uint8_t(r), uint8_t(g), uint8_t(b)};
        EXPECT_EQ(from_oklab(to_oklab(colour)), colour);
      }
    }
  }
  EXPECT_NEAR(to_oklab({255, 255, 255})[0], 1, 1e-6);
  // Ottosson's table: linear sRGB red is (0.628, 0.225, 0.126).
  EXPECT_NEAR(to_oklab({255, 0, 0})[0], 0.628, 1e-3);
  EXPECT_NEAR(to_oklab({255, 0, 0})[1], 0.225, 1e-3);
  EXPECT_NEAR(to_oklab({255, 0, 0})[2], 0.126, 1e-3);
}

TEST(ColorMap, ClipsAndSuggests) {
  const auto& map = color_map("viridis");
  EXPECT_EQ(map.at(-3), (Rgb{0x44, 0x01, 0x54}));
  EXPECT_EQ(map.at(std::nan("")), map.at(0));
  EXPECT_EQ(map.at(7), (Rgb{0xfd, 0xe7, 0x25}));
  try {
    color_map("viridid");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(e.what()).find("'viridis'"), std::string::npos);
  }
}

TEST(HeatMap, NormalisesByItsFormula) {
  const auto values = at::tensor({-1.0, 1.0, 3.0, 0.0}).view({2, 2});
  const auto full = normalise_map(values);
  EXPECT_TRUE(at::allclose(full.map, at::tensor({0.0, 0.5, 1.0, 0.25}, at::kFloat).view({2, 2})));
  EXPECT_EQ(full.low, -1);
  EXPECT_EQ(full.high, 3);
  const auto positive = normalise_map(values, /*from_zero=*/true);
  EXPECT_TRUE(at::allclose(positive.map, at::tensor({0.0, 1.0 / 3, 1.0, 0.0}, at::kFloat).view({2, 2})));
  EXPECT_TRUE(at::equal(normalise_map(at::full({2, 3}, 5.0)).map, at::zeros({2, 3})));
  EXPECT_TRUE(at::equal(normalise_map(at::full({2, 3}, -5.0), true).map, at::zeros({2, 3})));
  EXPECT_THROW(normalise_map(at::full({2, 2}, std::numeric_limits<double>::infinity())), Error);
  EXPECT_THROW(normalise_map(at::zeros({2, 2, 2})), Error);
  EXPECT_THROW(normalise_map(at::zeros({0, 2})), Error);
}

// A cell is its number written in the middle of its colour, from 0 to the largest value.
TEST(HeatMap, NumbersItsCells) {
  const io::Image picture = numbered_map(at::tensor({0.0, 2.0, 4.04, -1.0}).view({2, 2}), 1);
  const Rgb black{0, 0, 0}, white{255, 255, 255};
  struct Cell {
    std::string text;
    double value;
    Rgb ink;
  };
  const std::vector<Cell> cells = {
      {"0.0", 0.0, white}, {"2.0", 2.0 / 4.04, white}, {"4.0", 1.0, black}, {"-1.0", 0.0, white}};
  ASSERT_EQ(picture.height, 128);
  for (int64_t i = 0; i < 4; ++i) {
    io::Image cell = colourise(at::full({64, 64}, cells[i].value));
    draw_text(cell, (64 - text_width(cells[i].text, 2)) / 2, 25, cells[i].text, {cells[i].ink, 2});
    int64_t differ = 0;
    for (int64_t y = 0; y < 64; ++y) {
      for (int64_t x = 0; x < 64; ++x) {
        differ += pixel(picture, i / 2 * 64 + y, i % 2 * 64 + x) != pixel(cell, y, x) ? 1 : 0;
      }
    }
    EXPECT_EQ(differ, 0) << cells[i].text;
  }
  EXPECT_THROW(numbered_map(at::zeros({3}), 0), Error);
}

TEST(HeatMap, EnlargesBilinearly) {
  const auto big = upscale_map(at::tensor({0.0, 1.0, 2.0, 3.0}).view({2, 2}), 4, 4);
  const auto want =
      at::tensor({0.0, 0.25, 0.75, 1.0, 0.5, 0.75, 1.25, 1.5, 1.5, 1.75, 2.25, 2.5, 2.0, 2.25, 2.75, 3.0},
                 at::kFloat)
          .view({4, 4});
  EXPECT_TRUE(at::allclose(big, want)) << big;
}

TEST(HeatMap, OverlayBlendsAndKeepsPixelsSquare) {
  const io::Image image = grey_image(28, 20);
  OverlayOptions options;
  options.scale_bar = false;
  options.alpha = 0;
  const auto map = at::rand({7, 5});
  const io::Image plain = overlay(image, map, options);
  ASSERT_EQ(plain.width, 224);
  ASSERT_EQ(plain.height, 160);
  for (int64_t y = 0; y < plain.height; y += 3) {
    for (int64_t x = 0; x < plain.width; ++x) EXPECT_EQ(pixel(plain, y, x), pixel(image, y / 8, x / 8));
  }
  options.alpha = 1;
  const io::Image heat = overlay(image, map, options);
  EXPECT_EQ(heat.pixels, colourise(upscale_map(map, 160, 224)).pixels);
  options.alpha = 0.25;
  const io::Image mixed = overlay(image, map, options);
  for (size_t i = 0; i < mixed.pixels.size(); i += 7) {
    EXPECT_NEAR(mixed.pixels[i], 0.75 * plain.pixels[i] + 0.25 * heat.pixels[i], 0.51);
  }
  options.alpha = 1.5;
  EXPECT_THROW(overlay(image, map, options), Error);
}

TEST(HeatMap, LargeImagesKeepTheirSizeAndColourWhenAsked) {
  io::Image image{300, 2, 3, {}};
  for (int i = 0; i < 600; ++i) image.pixels.insert(image.pixels.end(), {200, 100, 0});
  OverlayOptions options;
  options.scale_bar = false;
  options.alpha = 0;
  EXPECT_EQ(pixel(overlay(image, at::zeros({1, 1}), options), 0, 5), (Rgb{118, 118, 118}));
  options.keep_colour = true;
  const io::Image out = overlay(image, at::zeros({1, 1}), options);
  EXPECT_EQ(out.pixels, image.pixels);
}

TEST(HeatMap, TensorBecomesImage) {
  const auto pixels = at::arange(24, at::kByte).view({3, 2, 4});
  const io::Image image = image_from_tensor(pixels);
  EXPECT_EQ(image.width, 4);
  EXPECT_EQ(image.height, 2);
  EXPECT_EQ(pixel(image, 1, 2), (Rgb{6, 14, 22}));
  EXPECT_THROW(image_from_tensor(at::zeros({3, 2, 4})), Error);
  EXPECT_THROW(image_from_tensor(at::zeros({2, 2, 4}, at::kByte)), Error);
}

TEST(ScaleBar, ShowsTheColoursAndTheNumbers) {
  const io::Image picture = overlay(grey_image(28, 28), at::rand({4, 4}), {});
  const ColorMap& map = color_map("inferno");
  ASSERT_GT(picture.width, 224 + 30);
  ASSERT_EQ(picture.height, 224);
  const int64_t x = 224 + 8 + 6;
  EXPECT_EQ(pixel(picture, 7, x), map.at(1));
  EXPECT_EQ(pixel(picture, 224 - 8, x), map.at(0));
  EXPECT_EQ(pixel(picture, 0, x), (Rgb{255, 255, 255}));
  // Another range shows other numbers, and nothing else changes.
  OverlayOptions options;
  options.high = 3;
  at::manual_seed(0);
  const auto heat = at::rand({4, 4});
  const io::Image one = overlay(grey_image(28, 28), heat, {}),
                  three = overlay(grey_image(28, 28), heat, options);
  ASSERT_EQ(one.width, three.width);
  int64_t changed = 0;
  for (int64_t y = 0; y < one.height; ++y) {
    for (int64_t k = 0; k < one.width; ++k) {
      if (pixel(one, y, k) == pixel(three, y, k)) continue;
      ++changed;
      EXPECT_GT(k, x + 6);
    }
  }
  EXPECT_GT(changed, 5);
}

TEST(ScaleBar, EveryCharacterDiffers) {
  std::set<std::vector<uint8_t>> seen;
  const std::string characters = "0123456789.-+e ?";
  for (const char c : characters) {
    io::Image canvas{5, 7, 3, std::vector<uint8_t>(5 * 7 * 3, 255)};
    draw_text(canvas, 0, 0, std::string(1, c), {Rgb{0, 0, 0}, 1});
    seen.insert(canvas.pixels);
  }
  EXPECT_EQ(seen.size(), characters.size());
  io::Image canvas{5, 7, 3, std::vector<uint8_t>(5 * 7 * 3, 255)};
  draw_text(canvas, -3, -100, "888", {Rgb{0, 0, 0}, 3});  // outside: cut off, no crash
}

TEST(Html, EscapesAndEncodes) {
  EXPECT_EQ(escape_html("<a href=\"x\">&'\x01 \xC3\xA9"),
            "&lt;a href=&quot;x&quot;&gt;&amp;&#39;\xEF\xBF\xBD \xC3\xA9");
  // RFC 4648, section 10.
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64("\xff\xfe"), "//4=");
  EXPECT_EQ(short_number(0.03124), "0.0312");
}

TEST(Chart, TicksAreRound) {
  EXPECT_EQ(nice_ticks(0, 1), (std::vector<double>{0, 0.2, 0.4, 0.6000000000000001, 0.8, 1}));
  const auto wide = nice_ticks(-130, 7100);
  EXPECT_EQ(wide, (std::vector<double>{0, 2000, 4000, 6000}));
  EXPECT_TRUE(nice_ticks(1, 1).empty());
  EXPECT_TRUE(nice_ticks(0, std::nan("")).empty());
  for (double high : {1e-9, 0.37, 42.0, 8e12}) {
    const auto ticks = nice_ticks(0, high);
    EXPECT_GE(ticks.size(), 2u) << high;
    EXPECT_LE(ticks.size(), 6u) << high;
  }
}

TEST(Chart, DrawsPointsWhereTheyBelong) {
  LineChart chart{"loss", "step", "loss", {{"train", {{0, 0}, {10, 1}}}}, 0.0, 1.0};
  const std::string svg = line_chart_svg(chart);
  EXPECT_NE(svg.find("d=\"M48.0 208.0L428.0 34.0\""), std::string::npos) << svg;
  EXPECT_NE(svg.find(">train</text>"), std::string::npos);
  EXPECT_NE(svg.find(">step</text>"), std::string::npos);
  EXPECT_NE(svg.find(">0.4</text>"), std::string::npos);
}

TEST(Chart, BadPointsLeaveGapsAndTextIsEscaped) {
  LineChart chart{"<b>", "x&y", "", {{"a<b", {{0, 1}, {1, std::nan("")}, {2, 3}, {3, 4}}}}, {}, {}};
  std::string svg = line_chart_svg(chart);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
  EXPECT_EQ(svg.find("<b>"), std::string::npos);
  EXPECT_NE(svg.find("a&lt;b"), std::string::npos);
  const size_t line = svg.find("stroke-linejoin");
  const size_t path = svg.rfind("d=\"", line);
  const std::string d = svg.substr(path, svg.find('"', path + 3) - path);
  EXPECT_EQ(std::count(d.begin(), d.end(), 'M'), 1) << d;
  EXPECT_NE(svg.find("<circle cx=\"48.0\""), std::string::npos) << "a point alone is a dot";
  // No point at all, one point, and very many.
  EXPECT_EQ(line_chart_svg({}).find("nan"), std::string::npos);
  EXPECT_NE(line_chart_svg({"", "", "", {{"", {{1, 5}}}}, {}, {}}).find("<circle"), std::string::npos);
  Series many{"m", {}};
  for (int i = 0; i < 100000; ++i) many.points.push_back({double(i), std::sin(i * 1e-3)});
  EXPECT_LT(line_chart_svg({"", "", "", {many}, {}, {}}).size(), 12000u);
}

TEST(Chart, LegendTakesTheRowsThatItNeeds) {
  const std::vector<std::array<double, 2>> points{{0, 0}, {1, 1}};
  LineChart chart{"", "", "", {{std::string(30, 'a'), points}, {std::string(30, 'b'), points}}, 0.0, 1.0};
  const std::string svg = line_chart_svg(chart);
  EXPECT_NE(svg.find("M48.0 20.0h14"), std::string::npos) << svg;
  EXPECT_NE(svg.find("M48.0 38.0h14"), std::string::npos) << svg;
  EXPECT_NE(svg.find("L428.0 52.0"), std::string::npos) << "the curve ends below the legend";
  EXPECT_NE(svg.find("M48.0 226.0L"), std::string::npos) << "and has the room that one row leaves";
  EXPECT_NE(svg.find("viewBox=\"0 0 440 268\""), std::string::npos) << svg;
  EXPECT_EQ(svg.find("font-size=\"6"), std::string::npos);
  chart.series[1].name = std::string(100, 'b');  // not quite two rows
  EXPECT_NE(line_chart_svg(chart).find("font-size=\"6"), std::string::npos) << "letters that fit";
}

TEST(Chart, AFileOfItsOwnNeedsNoPage) {
  const std::string svg = line_chart_file({"a & b", "x", "y", {{"train", {{0, 0}, {10, 1}}}}, {}, {}});
  EXPECT_EQ(svg.find("var("), std::string::npos) << svg;
  EXPECT_NE(svg.find("stroke=\"#2f6db5\""), std::string::npos) << svg;
  EXPECT_EQ(svg.rfind("<svg xmlns=\"http://www.w3.org/2000/svg\" width=", 0), 0u);
  EXPECT_NE(svg.find("<title>a &amp; b</title>"), std::string::npos);
}

TEST(ConfusionHtml, ShowsCountsSharesAndRecall) {
  const std::string html = confusion_html({{"cat", "d<g"}, {9, 1, 0, 5}});
  EXPECT_NE(html.find("title=\"cat taken for d&lt;g: 1 of 10\">1</td>"), std::string::npos) << html;
  EXPECT_NE(html.find("90.0%"), std::string::npos);
  EXPECT_NE(html.find("100.0%"), std::string::npos);
  EXPECT_NE(html.find("--s:0.949"), std::string::npos);  // sqrt(9 / 10)
  EXPECT_THROW(confusion_html({{"a", "b"}, {1, 2, 3}}), Error);
}

TEST(ConfusionHtml, ListsTheMostFrequentPairsOfManyClasses) {
  Confusion many;
  for (int i = 0; i < 100; ++i) many.classes.push_back("class" + std::to_string(i));
  many.counts.assign(10000, 0);
  for (int i = 0; i < 100; ++i) many.counts[i * 100 + i] = 10;
  many.counts[7 * 100 + 9] = 30;
  many.counts[3 * 100 + 4] = 2;
  const std::string html = confusion_html(many);
  const size_t first = html.find("<td>class7</td><td>class9</td><td>30</td><td>75.0%</td>");
  EXPECT_NE(first, std::string::npos);
  EXPECT_GT(html.find("<td>class3</td><td>class4</td>"), first);
  EXPECT_LT(html.size(), 2000u);
}

}  // namespace
}  // namespace fovea::explain
