// What `fovea run mechanism`, `fovea list mechanisms` and `fovea list positions` give.
#include <gtest/gtest.h>

#include <cmath>

#include "fixtures.h"
#include "fovea/io/image.h"

namespace fovea::cli_test {
namespace {

namespace fs = std::filesystem;

TEST(Run, MechanismIsAttention) {
  const TemporaryFolder work;
  // Two queries over two keys; the first may see only the first key, whose value comes through whole.
  write_tensors(work / "in.safetensors", {{"q", {{1, 1, 2, 1}, {1, 1}}},
                                          {"k", {{1, 1, 2, 1}, {0, std::log(3.0F)}}},
                                          {"v", {{1, 1, 2, 1}, {4, 8}}}});
  const std::string out = (work / "out.safetensors").string();
  const auto plain = run_fovea({"run", "mechanism", "softmax:causal=true", "--input",
                                (work / "in.safetensors").string(), "--output", out});
  ASSERT_EQ(plain.exit_code, 0) << plain.err;
  const auto values = read_tensors(out).at("out").values;
  EXPECT_FLOAT_EQ(values[0], 4);
  EXPECT_NEAR(values[1], (4 * 1 + 8 * 3) / 4.0, 1e-5);
}

TEST(Run, MechanismNamesAnInstructionSetThatThereIsNot) {
  const TemporaryFolder work;
  const std::string in = (work / "in.safetensors").string();
  const FloatTensor rows{{1, 1, 100, 4}, std::vector<float>(400, 0.5F)};
  write_tensors(in, {{"q", rows}, {"k", rows}, {"v", rows}});
  for (const std::string isa : {"rubbish", "AVX2", "avx2 "}) {
    const auto ended = run_fovea(
        {"run", "mechanism", "softmax", "--input", in, "--output", (work / "o.safetensors").string()},
        {.environment = {"FOVEA_ISA=" + isa}});
    EXPECT_EQ(ended.exit_code, 2) << ended.err;
    EXPECT_NE(ended.err.find("an instruction set must be one of"), std::string::npos) << ended.err;
  }
}

TEST(Run, MechanismOfLowRank) {
  const TemporaryFolder work;
  const std::string in = (work / "in.safetensors").string(), weights = (work / "w.safetensors").string(),
                    out = (work / "o.safetensors").string();
  const FloatTensor rows{{1, 1, 2, 2}, {1, 0, 0, 1}};
  write_tensors(in, {{"q", rows}, {"k", rows}, {"v", rows}});
  const FloatTensor identity{{1, 2, 2}, {1, 0, 0, 1}};
  write_tensors(weights, {{"U", identity}, {"V", identity}});
  const auto ended = run_fovea(
      {"run", "mechanism", "bilinear:rank=2", "--input", in, "--weights", weights, "--output", out});
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  const double e = std::exp(1.0);
  EXPECT_NEAR(read_tensors(out).at("out").values[0], e / (e + 1), 1e-6);
  EXPECT_EQ(run_fovea({"run", "mechanism", "additive", "--list-weights", "--heads", "100000"}).exit_code, 0);
  EXPECT_EQ(
      run_fovea({"run", "mechanism", "softmax", "--input", in, "--heads", "0", "--output", out}).exit_code,
      2);
  EXPECT_EQ(run_fovea({"run", "mechanism", "softmax:causal=true,", "--input", in, "--output", out}).exit_code,
            2);
}

// One query over three keys of equal score, whose values tell how many are seen.
TEST(Run, MechanismTakesOptionsAndTensors) {
  const TemporaryFolder work;
  const std::string in = (work / "in.safetensors").string(), out = (work / "out.safetensors").string();
  const auto result = [&](const std::string& mechanism, std::map<std::string, FloatTensor> tensors,
                          const std::vector<std::string>& more = {}) {
    tensors["q"] = {{1, 1, 1, 1}, {0}};
    tensors["k"] = {{1, 1, 3, 1}, {0, 0, 0}};
    tensors["v"] = {{1, 1, 3, 1}, {4, 8, 12}};
    write_tensors(in, tensors);
    std::vector<std::string> words = {"run", "mechanism", mechanism, "--input", in, "--output", out};
    words.insert(words.end(), more.begin(), more.end());
    const auto ended = run_fovea(words);
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    return read_tensors(out).at("out").values.at(0);
  };
  EXPECT_FLOAT_EQ(result("softmax", {}), 8);
  EXPECT_FLOAT_EQ(result("softmax:causal=bottom_right,window_right=1", {}), 6);
  EXPECT_FLOAT_EQ(result("local:window=1", {}), 6);
  EXPECT_FLOAT_EQ(result("sigmoid:sigmoid_bias=0,softcap=30", {}), 12);
  EXPECT_FLOAT_EQ(result("softmax_sink", {}), 6);
  EXPECT_NEAR(result("softmax", {{"bias", {{1, 3}, {0, 0, std::log(2.0F)}}}}), (4 + 8 + 2 * 12) / 4.0, 1e-5);
  const std::string weights = (work / "w.safetensors").string();
  write_tensors(weights, {{"sinks", {{1}, {std::log(3.0F)}}}});
  EXPECT_NEAR(result("softmax_sink", {}, {"--weights", weights}), 4, 1e-5);
  write_tensors(weights, {{"w", {{1}, {2}}}});
  EXPECT_FLOAT_EQ(result("additive:causal=true", {}, {"--weights", weights}), 4);
}

// The second of two keys has log 3 more, by its distance alone.
TEST(Run, MechanismTakesRelativeKeys) {
  const TemporaryFolder work;
  const std::string in = (work / "in.safetensors").string(), out = (work / "out.safetensors").string();
  write_tensors(in, {{"q", {{1, 1, 1, 1}, {1}}},
                     {"k", {{1, 1, 2, 1}, {0, 0}}},
                     {"v", {{1, 1, 2, 1}, {4, 8}}},
                     {"relative_keys", {{1, 3, 1}, {5, 0, std::log(3.0F)}}}});
  const auto ended = run_fovea({"run", "mechanism", "softmax", "--input", in, "--output", out});
  ASSERT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_NEAR(read_tensors(out).at("out").values.at(0), 7, 1e-5);
  EXPECT_TRUE(run_fovea({"run", "mechanism", "cosine:learned=false", "--input", in, "--output", out})
                  .is_one_line_with({"cosine: it does not add relative keys to its scores"}));
}

// Two rows of width 1, projected by q = 0, k = x, v = 2 x, then 3 out + 1: the mean of what is seen.
TEST(Run, MechanismProjectsRows) {
  const TemporaryFolder work;
  const std::string in = (work / "in.safetensors").string(), out = (work / "out.safetensors").string(),
                    weights = (work / "w.safetensors").string();
  const std::map<std::string, FloatTensor> projections = {{"in_proj_weight", {{3, 1}, {0, 1, 2}}},
                                                          {"in_proj_bias", {{3}, {0, 0, 0}}},
                                                          {"out_proj.weight", {{1, 1}, {3}}},
                                                          {"out_proj.bias", {{1}, {1}}}};
  const auto run = [&](const std::string& mechanism, const std::map<std::string, FloatTensor>& tensors) {
    write_tensors(in, tensors);
    write_tensors(weights, projections);
    return run_fovea({"run", "mechanism", mechanism, "--input", in, "--output", out, "--weights", weights});
  };
  const FloatTensor x = {{1, 2, 1}, {5, 7}}, context = {{1, 3, 1}, {1, 2, 6}}, heads = {{1, 1, 2, 1}, {5, 7}};
  ASSERT_EQ(run("softmax", {{"x", x}}).exit_code, 0);
  EXPECT_FLOAT_EQ(read_tensors(out).at("out").values.at(0), 2 * 6 * 3 + 1);
  ASSERT_EQ(run("softmax:causal=true", {{"x", x}}).exit_code, 0);
  EXPECT_FLOAT_EQ(read_tensors(out).at("out").values.at(0), 2 * 5 * 3 + 1);
  ASSERT_EQ(run("softmax", {{"x", x}, {"context", context}}).exit_code, 0);
  EXPECT_FLOAT_EQ(read_tensors(out).at("out").values.at(1), 2 * 3 * 3 + 1);
  const auto both = run("softmax", {{"x", x}, {"q", x}});
  EXPECT_EQ(both.exit_code, 3);
  EXPECT_TRUE(both.is_one_line_with({"x stands in the place of q, k and v"}));
  write_tensors(in, {{"q", heads}, {"k", heads}, {"v", heads}, {"context", context}});
  EXPECT_TRUE(run_fovea({"run", "mechanism", "softmax", "--input", in, "--output", out})
                  .is_one_line_with({"context goes with x only"}));
  write_tensors(in, {{"q", heads}, {"k", heads}, {"v", heads}});
  EXPECT_TRUE(run_fovea({"run", "mechanism", "softmax", "--heads", "2", "--input", in, "--output", out})
                  .is_one_line_with({"--heads is of rows x"}));
  const auto missing = run("additive", {{"x", x}});
  EXPECT_EQ(missing.exit_code, 4);
  EXPECT_TRUE(missing.is_one_line_with({"1 missing (attention.w)"})) << missing.err;
  const auto names = run_fovea({"run", "mechanism", "additive", "--heads", "2", "--list-weights"}).out;
  EXPECT_NE(names.find("in_proj_weight\n"), std::string::npos) << names;
  EXPECT_NE(names.find("attention.w\n"), std::string::npos) << names;
}

TEST(Run, MechanismNamesWhatDoesNotFit) {
  const TemporaryFolder work;
  const std::string in = (work / "in.safetensors").string(), out = (work / "out.safetensors").string();
  const FloatTensor one = {{1, 1, 1, 1}, {0}};
  const auto expect = [&](const std::string& mechanism, const std::map<std::string, FloatTensor>& more,
                          int code, const std::string& part) {
    std::map<std::string, FloatTensor> tensors = more;
    tensors.insert({{"q", one}, {"k", one}, {"v", one}});
    write_tensors(in, tensors);
    const auto ended = run_fovea({"run", "mechanism", mechanism, "--input", in, "--output", out});
    EXPECT_EQ(ended.exit_code, code) << ended.err;
    EXPECT_TRUE(ended.is_one_line_with({part})) << ended.err;
    EXPECT_FALSE(fs::exists(out));
  };
  expect("softmax", {{"mas", one}}, 3, "Did you mean 'mask'?");
  expect("softmax", {{"bias", {{2, 2}, {0, 0, 0, 0}}}}, 3, "broadcastable");
  expect("softmax", {{"query_segments", one}}, 3, "'key_segments' is missing");
  expect("softmax:block=2", {}, 3, "the option block goes with a tensor block_mask; found none");
  expect("softmax", {{"block_mask", one}}, 3, "Write softmax:block=64");
  expect("hybrid", {{"block_mask", one}}, 3, "Leave it out: hybrid takes no such mask.");
  expect("softmax", {{"q", {{2, 1, 2}, {0, 0, 0, 0}}}}, 3, "q, k and v must be (B, H, T, D); found q");
  expect("bigbird", {{"block_mask", one}}, 3, "Leave it out: bigbird takes no such mask.");
  for (const char* text : {"bigbird:block=2", "head_router:block=2"}) {
    expect(text, {}, 2, "the option 'block' is unknown");
  }
  expect("softmax", {{"mask", one}}, 3, "Give numbers that are to be added as `bias`.");
  expect("additive", {}, 2, "'additive' has the parameter w. Give it by --weights FILE.");
  expect("cosine", {}, 2, "Give it by --weights FILE, or write cosine:learned=false.");
  expect("softmax:window=x", {}, 2, "window must be a whole number");
  expect("nystrom:iterations=1001", {}, 2, "iterations must be at most 1000");
  for (const char* mechanism : {"hard", "hierarchical", "softmax"}) {
    expect(mechanism, {{"v", {{1, 1, 2, 1}, {0, 0}}}}, 3, "k and v must share");
  }
}

// Seven equal scores, whose values tell who sees whom: 2 x 3 places behind a token.
TEST(Run, MechanismTakesAGrid) {
  const TemporaryFolder work;
  const std::string in = (work / "in.safetensors").string(), out = (work / "out.safetensors").string();
  const FloatTensor zeros = {{1, 1, 7, 1}, std::vector<float>(7)};
  const auto run = [&](const std::string& mechanism, const FloatTensor& grid) {
    write_tensors(in,
                  {{"q", zeros}, {"k", zeros}, {"v", {{1, 1, 7, 1}, {0, 1, 2, 3, 4, 5, 6}}}, {"grid", grid}});
    return run_fovea({"run", "mechanism", mechanism, "--input", in, "--output", out});
  };
  const auto first_places = [&](const std::string& axes) {
    const auto ended = run("axial:axes=" + axes, {{3}, {}, {2, 3, 1}});
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    return read_tensors(out).at("out").values;
  };
  EXPECT_FLOAT_EQ(first_places("rows").at(0), 3);
  EXPECT_FLOAT_EQ(first_places("rows").at(1), (0 + 1 + 2 + 3) / 4.0F);
  EXPECT_FLOAT_EQ(first_places("columns").at(1), (0 + 1 + 4) / 3.0F);
  const auto fails = [&](const std::string& mechanism, const FloatTensor& grid, int code,
                         const std::string& part) {
    const auto ended = run(mechanism, grid);
    EXPECT_EQ(ended.exit_code, code) << ended.err;
    EXPECT_TRUE(ended.is_one_line_with({part})) << ended.err;
  };
  fails("axial", {{2}, {}, {2, 3}}, 3, "7 positions, a grid of 2 x 3 behind 0 tokens");
  fails("axial", {{3}, {}, {-2, -3, 1}}, 3, "a grid of -2 x -3");
  fails("axial", {{1}, {}, {7}}, 3, "'grid' must hold rows, columns");
  fails("axial", {{2}, {2, 3}}, 3, "'grid' must hold rows, columns");
  fails("conv_augmented", {{3}, {}, {2, 3, 1}}, 2, "has the parameters key_rel_w, key_rel_h");
  const auto names = run_fovea({"run", "mechanism", "conv_augmented", "--heads", "2", "--list-weights"}).out;
  EXPECT_NE(names.find("attention.key_rel_h\n"), std::string::npos) << names;
}

TEST(Show, DrawsAMechanism) {
  const TemporaryFolder work;
  const std::string file = (work / "pattern.png").string();
  const auto ended = run_fovea({"show", "mechanism", "local:window=4", "--output", file});
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(ended.out, file + "\n");
  const io::Image picture = io::read_image(file);
  EXPECT_EQ(picture.height, 64 * 4);
  EXPECT_GT(picture.width, 2 * picture.height);
  const auto heads = run_fovea({"show", "mechanism", "channel", "--heads", "2", "--output", file, "--json"});
  EXPECT_EQ(heads.json()["causal"], false);
  EXPECT_EQ(io::read_image(file).height, 64 * 4);
}

TEST(Show, NamesWhatItCannotDraw) {
  const TemporaryFolder work;
  const auto fails = [&](const std::string& mechanism, const std::string& heads, const std::string& file,
                         int code, const std::string& part) {
    const auto ended = run_fovea({"show", "mechanism", mechanism, "--heads", heads, "--output", file});
    EXPECT_EQ(ended.exit_code, code) << ended.err;
    EXPECT_TRUE(ended.is_one_line_with({part})) << ended.err;
    EXPECT_FALSE(fs::exists(file));
  };
  const std::string file = (work / "pattern.png").string();
  fails("local:windw=4", "1", file, 2, "Did you mean 'window'");
  fails("local", "0", file, 2, "--heads takes a whole number of at least 1");
  fails("local", "17", file, 2, "heads lie in 1 ... 16");
  fails("gaussian:width=1e-20", "1", file, 5, "must be finite");
  fails("local", "1", (work / "nowhere/pattern.png").string(), 1, "nowhere");
  fails("head_router:k=2", "1", file, 2, "found 2 of 1. Choose a smaller k, or more heads.");
}

TEST(List, MechanismsSayWhatTheyAreAndCost) {
  const auto listed = run_fovea({"list", "mechanisms", "--json"}).json()["mechanisms"];
  ASSERT_GT(listed.size(), 5u);
  for (const auto& row : listed) {
    for (const char* key : {"name", "summary", "cost", "path", "source"}) {
      EXPECT_FALSE(row[key].get<std::string>().empty()) << row << key;
    }
  }
  const auto text = run_fovea({"list", "mechanisms"}).out;
  EXPECT_NE(text.find("path: decode, fused"), std::string::npos) << text;
  EXPECT_NE(text.find("needs: x and a grid of positions"), std::string::npos) << text;
  const auto options = run_fovea({"list", "options"}).out;
  EXPECT_NE(options.find("value: false, true, bottom_right or top_left; "), std::string::npos) << options;
  const auto one = run_fovea({"list", "mechanisms", "longformer"}).out;
  EXPECT_NE(one.find("causal: yes; cross: yes"), std::string::npos) << one;
  EXPECT_NE(one.find("value: a whole number from 0; default: 256"), std::string::npos) << one;
  EXPECT_EQ(one.find("softmax_sink  "), std::string::npos) << one;
  const auto row = run_fovea({"list", "mechanisms", "local", "--json"}).json()["mechanisms"];
  ASSERT_EQ(row.size(), 1u);
  EXPECT_EQ(row[0]["exact"], false);
  EXPECT_FALSE(row[0]["options"].empty());
  EXPECT_TRUE(run_fovea({"list", "mechanisms", "lokal"}).is_one_line_with({"Did you mean 'local'"}));
  EXPECT_TRUE(run_fovea({"list", "models", "local"}).is_one_line_with({"only mechanisms"}));
}

TEST(List, PositionsSayWhereTheyAct) {
  const auto listed = run_fovea({"list", "positions", "--json"}).json()["positions"];
  ASSERT_EQ(listed.size(), 11u);
  for (const auto& row : listed) {
    for (const char* key : {"name", "summary", "acts_on", "extrapolates", "source"}) {
      EXPECT_FALSE(row[key].get<std::string>().empty()) << row << key;
    }
  }
  const auto one = run_fovea({"list", "positions", "rotary"}).out;
  EXPECT_NE(one.find("acts_on: queries and keys; "), std::string::npos) << one;
  EXPECT_NE(one.find("value: half or interleaved; default: half"), std::string::npos) << one;
  EXPECT_TRUE(run_fovea({"list", "positions", "rotery"}).is_one_line_with({"Did you mean 'rotary'"}));
}

// One error for all, so that a user need not call again to hear of the next.
TEST(Run, MechanismNamesAllThatIsMissing) {
  const TemporaryFolder work;
  const std::string in = (work / "in.safetensors").string(), out = (work / "out.safetensors").string();
  const FloatTensor one = {{1, 1, 1, 1}, {0}};
  const auto lacks = [&](const std::string& mechanism, const std::vector<std::string>& weights,
                         const std::string& rest) {
    write_tensors(in, {{"q", one}, {"k", one}, {"v", one}});
    std::vector<std::string> words = {"run", "mechanism", mechanism, "--input", in, "--output", out};
    words.insert(words.end(), weights.begin(), weights.end());
    const auto ended = run_fovea(words);
    EXPECT_EQ(ended.exit_code, 3) << ended.err;
    EXPECT_EQ(ended.err,
              "[" + in + "] '" + mechanism.substr(0, mechanism.find(':')) + "' needs " + rest + "\n");
  };
  const std::string rows = "Store x (B, T, E) in the place of q, k and v.",
                    grid = "Store rows and columns as `grid`.",
                    weights = "Give by --weights FILE what --list-weights names.",
                    found = "; found k, q and v. ";
  lacks("forgetting", {}, "rows before projection and weights" + found + rows + " " + weights);
  lacks("longformer:global_projections=true", {},
        "rows before projection and weights" + found + rows + " " + weights);
  lacks("longformer:global_projections=true", {"--weights", in}, "rows before projection" + found + rows);
  lacks("deformable", {},
        "rows before projection, a grid and weights" + found + rows + " " + grid + " " + weights);
  lacks("deformable:places=sequence", {"--weights", in}, "rows before projection" + found + rows);
  lacks("conv_augmented", {}, "a grid and weights" + found + grid + " " + weights);
  lacks("axial", {}, "a grid" + found + grid);
}

// Where keys 0 and s lie, w = 0: phi(k) = exp(-k^2 / 2), so that the second weighs a third.
TEST(Run, MechanismTakesBuffersAsWeights) {
  const TemporaryFolder work;
  const std::string in = (work / "in.safetensors").string(), out = (work / "out.safetensors").string(),
                    weights = (work / "w.safetensors").string();
  const auto run = [&](const std::map<std::string, FloatTensor>& state) {
    write_tensors(weights, state);
    return run_fovea(
        {"run", "mechanism", "performer:features=1", "--input", in, "--output", out, "--weights", weights});
  };
  write_tensors(in, {{"q", {{1, 1, 1, 1}, {2}}},
                     {"k", {{1, 1, 2, 1}, {0, std::sqrt(2 * std::log(3.0F))}}},
                     {"v", {{1, 1, 2, 1}, {4, 8}}}});
  ASSERT_EQ(run({{"projection_matrix", {{1, 1}, {0}}}}).exit_code, 0);
  EXPECT_NEAR(read_tensors(out).at("out").values.at(0), (4 + 8 / 3.0) / (4 / 3.0), 1e-5);
  EXPECT_TRUE(
      run({{"projection_matrix", {{2, 1}, {0, 0}}}}).is_one_line_with({"'" + weights + "' must", "(2, 1)"}));
  // A drawn value stays where the file has none.
  const std::map<std::string, FloatTensor> projections = {{"in_proj_weight", {{3, 1}, {0, 1, 2}}},
                                                          {"in_proj_bias", {{3}, {0, 0, 0}}},
                                                          {"out_proj.weight", {{1, 1}, {3}}},
                                                          {"out_proj.bias", {{1}, {1}}}};
  write_tensors(in, {{"x", {{1, 2, 1}, {0, std::sqrt(2 * std::log(3.0F))}}}});
  EXPECT_EQ(run(projections).exit_code, 0);
  auto all = projections;
  all["attention.projection_matrix"] = {{1, 1}, {0}};
  ASSERT_EQ(run(all).exit_code, 0);
  EXPECT_NEAR(read_tensors(out).at("out").values.at(0), 3 * 2 * std::sqrt(2 * std::log(3.0)) / 4 + 1, 1e-5);
}

TEST(Run, ListWeightsNamesThem) {
  EXPECT_EQ(run_fovea({"run", "mechanism", "additive", "--list-weights"}).out, "w\n");
  EXPECT_EQ(run_fovea({"run", "mechanism", "performer", "--list-weights"}).out, "projection_matrix\n");
  const auto names = [](const std::vector<std::string>& words) {
    std::vector<std::string> call = {"run", "mechanism"};
    call.insert(call.end(), words.begin(), words.end());
    call.emplace_back("--list-weights");
    return run_fovea(call).out;
  };
  const std::string host = "in_proj_weight\nin_proj_bias\nout_proj.weight\nout_proj.bias\n";
  EXPECT_EQ(names({"performer", "--heads", "2"}), host + "attention.projection_matrix\n");
  EXPECT_EQ(names({"bilinear:rank=2000", "--heads", "2"}), host + "attention.U\nattention.V\n");
  EXPECT_EQ(names({"head_router"}), host + "attention.router.weight\n");
  EXPECT_EQ(names({"head_router:k=40", "--heads", "40"}), host + "attention.router.weight\n");
  EXPECT_TRUE(
      names({"longformer:global_projections=true"}).starts_with(host + "attention.query_global.weight\n"));
  const auto sink = run_fovea({"run", "mechanism", "softmax_sink", "--list-weights", "--json"});
  EXPECT_EQ(sink.json()["weights"], std::vector<std::string>{"sinks"});
}

TEST(Run, AMechanismWithoutWeightsSaysSo) {
  const auto ended = run_fovea({"run", "mechanism", "softmax", "--list-weights"});
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(ended.out, "");
  EXPECT_TRUE(ended.is_one_line_with({"'softmax' has no weights"}));
}

}  // namespace
}  // namespace fovea::cli_test
