// What the program answers to its words: help, names, shells, streams.
#include <gtest/gtest.h>

#include "fixtures.h"

namespace fovea::cli_test {
namespace {

TEST(Call, WithoutCommandNamesThem) {
  const auto ended = run_fovea({});
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_TRUE(ended.is_one_line_with({"a command is needed", "train", "--help"}));
  EXPECT_EQ(ended.out, "");
}

TEST(Call, MisspellingsNameTheNearest) {
  const struct {
    std::vector<std::string> words;
    std::string nearest;
  } cases[] = {
      {{"trian"}, "'train'"},
      {{"train", "clasify"}, "'classify'"},
      {{"list", "modles"}, "'models'"},
      {{"list", "--jsom"}, "'--json'"},
      {{"train", "classify", "--modle", "resnet20"}, "'--model'"},
      {{"summary", "resnt20"}, "'resnet20'"},
      {{"summary", "resnet20", "--set", "num_clases=3"}, "'num_classes'"},
      {{"run", "mechanism", "sofmax"}, "'softmax'"},
      {{"run", "mechanism", "softmax:casual=true"}, "'causal'"},
      {{"show", "mechanism", "locl", "--output", "x.png"}, "'local'"},
      {{"run", "mechanism", "softmax:normaliser=sigmod"}, "'sigmoid'"},
      {{"completion", "bsh"}, "'bash'"},
      {{"train", "classify", "--model", "resnet8", "--data", "fashon_mnist", "--print-config"},
       "'fashion_mnist'"},
  };
  for (const auto& test : cases) {
    const auto ended = run_fovea(test.words);
    EXPECT_EQ(ended.exit_code, 2) << ended.err;
    EXPECT_TRUE(ended.is_one_line_with({"Did you mean " + test.nearest}));
    EXPECT_EQ(ended.out, "");
  }
}

// A name that promises another format is refused before any work: none of these inputs is there.
TEST(Call, FilesAreNamedForWhatTheyHold) {
  const TemporaryFolder work;
  const auto refuses = [&](std::vector<std::string> words, const std::string& name,
                           const std::string& ending) {
    const std::string command = "fovea " + words[0] + " " + words[1], file = (work / name).string();
    words.insert(words.end(), {"--output", file});
    const auto ended = run_fovea(words);
    EXPECT_EQ(ended.exit_code, 2);
    EXPECT_EQ(ended.err, "[" + command + "] --output must end in " + ending + "; found '" + file +
                             "'. Name a " + ending + " file.\n");
    EXPECT_FALSE(std::filesystem::exists(file));
  };
  for (const char* name : {"x.svg", "png", "x.png.", "x"})
    refuses({"show", "mechanism", "local"}, name, ".png");
  for (const char* name : {"e.png", "e.SV"}) refuses({"bench", "approximation"}, name, ".svg");
  refuses({"run", "mechanism", "softmax", "--input", "nowhere"}, "out.pt", ".safetensors");
  refuses({"run", "model", "nowhere", "--input", "nowhere"}, "out.json", ".safetensors");
  EXPECT_EQ(run_fovea({"show", "mechanism", "local", "--output", (work / "x.PNG").string()}).exit_code, 0);
}

TEST(Call, MissingAndSurplusArgumentsAreNamed) {
  EXPECT_TRUE(run_fovea({"summary"}).is_one_line_with({"[fovea summary]", "MODEL is needed"}));
  EXPECT_TRUE(run_fovea({"summary", "resnet8", "again"}).is_one_line_with({"found 'again'"}));
  EXPECT_TRUE(run_fovea({"eval", "x", "--threads", "two"}).is_one_line_with({"--threads", "'two'"}));
  EXPECT_TRUE(run_fovea({"eval", "x", "--threads", "0"}).is_one_line_with({"--threads", "'0'"}));
  EXPECT_EQ(run_fovea({"summary", "resnet8", "--input"}).exit_code, 2);
}

TEST(Call, OtherDevicesAreRefused) {
  const auto ended = run_fovea({"eval", "nowhere", "--device", "cuda"});
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_TRUE(ended.is_one_line_with({"--device takes cpu", "'cuda'"}));
}

TEST(Call, EveryCommandHasHelpWithAnExample) {
  const std::vector<std::vector<std::string>> commands = {{},
                                                          {"list"},
                                                          {"summary"},
                                                          {"train"},
                                                          {"train", "classify"},
                                                          {"eval"},
                                                          {"predict"},
                                                          {"explain"},
                                                          {"run"},
                                                          {"run", "model"},
                                                          {"run", "mechanism"},
                                                          {"report"},
                                                          {"show"},
                                                          {"show", "mechanism"},
                                                          {"doctor"},
                                                          {"completion"},
                                                          {"bench"},
                                                          {"bench", "attend"},
                                                          {"bench", "approximation"},
                                                          {"sweep"}};
  for (auto words : commands) {
    words.emplace_back("--help");
    const auto ended = run_fovea(words);
    EXPECT_EQ(ended.exit_code, 0) << ended.err;
    EXPECT_NE(ended.out.find("Example:\n  "), std::string::npos) << ended.out;
    EXPECT_EQ(ended.err, "");
  }
}

TEST(Call, VersionIsOneLine) {
  const auto ended = run_fovea({"--version"});
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_TRUE(ended.out.starts_with("fovea 0.")) << ended.out;
}

TEST(Call, ListsParse) {
  const auto all = run_fovea({"list", "--json"}).json();
  for (const char* kind :
       {"models", "mechanisms", "options", "blocks", "tasks", "data", "explainers", "recipes"}) {
    ASSERT_TRUE(all.contains(kind)) << kind;
    const auto one = run_fovea({"list", kind, "--json"}).json();
    EXPECT_EQ(one[kind], all[kind]);
    const auto text = run_fovea({"list", kind}).out;
    for (const auto& row : one[kind]) {
      EXPECT_FALSE(row["summary"].get<std::string>().empty()) << row;
      EXPECT_NE(text.find(row["name"].get<std::string>()), std::string::npos);
    }
  }
}

TEST(Call, DoctorFindsTheBuildSound) {
  const auto ended = run_fovea({"doctor", "--json"});
  EXPECT_EQ(ended.exit_code, 0) << ended.out;
  const auto report = ended.json();
  EXPECT_EQ(report["openmp"]["chunks_of_two_threads"], 2);
  EXPECT_EQ(report["openmp"]["libraries"].size(), 1u);
  EXPECT_EQ(report["torch"]["loaded"], "2.11.0");
  EXPECT_TRUE(report["problems"].empty());
  EXPECT_GT(report["memory_bytes"]["total"], 0);
}

TEST(Call, DoctorNamesWhatIsWrong) {
  const auto ended = run_fovea({"doctor", "--json"}, {.environment = {"FOVEA_ISA=avx3"}});
  EXPECT_EQ(ended.exit_code, 1);
  ASSERT_EQ(ended.json()["problems"].size(), 1u);
  EXPECT_NE(ended.json()["problems"][0].get<std::string>().find("avx3"), std::string::npos);
}

// Exit status of a shell that reads `script`, or -1 when the machine lacks it.
int run_shell(const std::string& shell, const std::string& arguments) {
  if (std::system(("command -v " + shell + " >/dev/null").c_str()) != 0) return -1;
  return std::system((shell + " " + arguments).c_str());
}

TEST(Call, CompletionScriptsAreSound) {
  const TemporaryFolder work;
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    const auto ended = run_fovea({"completion", shell});
    EXPECT_EQ(ended.exit_code, 0);
    EXPECT_NE(ended.out.find("attention-block"), std::string::npos) << shell;
    write_text(work / shell, ended.out);
    EXPECT_LE(run_shell(shell, "-n '" + (work / shell).string() + "'"), 0) << shell;
  }
}

// What bash offers for the last of `words`.
std::string complete(const std::string& words) {
  const TemporaryFolder work;
  write_text(work / "script", run_fovea({"completion", "bash"}).out);
  const std::string out = (work / "out").string();
  run_shell("bash", "-c 'source \"" + (work / "script").string() + "\"; COMP_WORDS=(" + words +
                        "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _fovea; echo \"${COMPREPLY[@]}\"' > '" +
                        out + "'");
  return read_text(out);
}

TEST(Call, BashCompletesCommandsFlagsAndNames) {
  EXPECT_EQ(complete("fovea tr"), "train\n");
  EXPECT_EQ(complete("fovea train cl"), "classify\n");
  EXPECT_EQ(complete("fovea train classify --attention-b"), "--attention-block\n");
  EXPECT_EQ(complete("fovea train classify --set lr=1 --amp b"), "bf16\n");
  EXPECT_EQ(complete("fovea summary fashion_v"), "fashion_vit\n");
  EXPECT_EQ(complete("fovea train classify --position rot"), "rotary\n");
  EXPECT_EQ(complete("fovea list positions sinu"), "sinusoidal\n");
}

TEST(Call, BashCompletesKeysAndDataSets) {
  EXPECT_EQ(complete("fovea train classify --set epo"), "epochs=\n");
  EXPECT_EQ(complete("fovea train classify --set data.val"), "data.val_fraction=\n");
  EXPECT_EQ(complete("fovea train classify --set model.patch"), "model.patch_size=\n");
  EXPECT_EQ(complete("fovea summary vit_tiny --set patch"), "patch_size=\n");
  EXPECT_EQ(complete("fovea eval run --data fas"), "fashion_mnist\n");
  EXPECT_EQ(complete("fovea report run --data fas"), "fashion_mnist\n");
}

TEST(Call, AnUnknownShellIsToldTheKnownOnes) {
  const auto ended = run_fovea({"completion", "tcsh"});
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_TRUE(ended.is_one_line_with({"SHELL must be one of bash, zsh, fish", "'tcsh'"}));
  EXPECT_EQ(ended.out, "");
}

TEST(Call, PositionSchemesAreOfTransformers) {
  const TemporaryFolder work;
  write_idx(work / "data");
  const auto print = [&](const char* model, const char* position) {
    return run_fovea({"train", "classify", "--data", "mnist:" + (work / "data").string(), "--model", model,
                      "--position", position, "--print-config"});
  };
  EXPECT_EQ(print("fashion_vit", "rotary:base=100").json()["model"]["position"], "rotary:base=100");
  const auto resnet = print("resnet8", "rotary"), unknown = print("fashion_vit", "rotery");
  EXPECT_EQ(resnet.exit_code, 2);
  EXPECT_TRUE(resnet.is_one_line_with({"--position is for", "'rotary'", "resnet8", "Leave --position out"}));
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_TRUE(unknown.is_one_line_with({"[position]", "Did you mean 'rotary'?"}));
}

TEST(Call, AReaderThatWentAwayIsNoError) {
  const auto ended = run_fovea({"list", "models"}, {.closed_stdout = true});
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(ended.err, "");
}

TEST(Call, AClosedStdoutIsAnError) {
  const auto ended = run_fovea({"list", "models"}, {.shell = R"(exec "$@" >&-)"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_TRUE(ended.is_one_line_with({"[stdout] is closed"}));
  EXPECT_EQ(run_fovea({"list", "models"}, {.shell = R"(exec "$@" <&- 2>&-)"}).exit_code, 0);
}

// The first files that are opened would get the numbers of the closed ones, and the messages.
TEST(Call, MessagesStayOutOfTheRunsFiles) {
  const TemporaryFolder work;
  write_idx(work / "data");
  const auto words = training(work / "data", work / "run", {"--set", "max_steps=2"});
  EXPECT_EQ(run_fovea(words, {.shell = R"(exec "$@" <&- 2>&-)"}).exit_code, 0);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(work / "run")) {
    if (!entry.is_regular_file()) continue;
    EXPECT_EQ(read_text(entry.path()).find("step 2/2"), std::string::npos) << entry.path();
  }
  EXPECT_EQ(run_fovea({"eval", (work / "run").string()}).exit_code, 0);
}

TEST(Call, ASwitchTakesNoValue) {
  const auto ended = run_fovea({"list", "recipes", "--json=false"});
  EXPECT_EQ(ended.exit_code, 2);
  EXPECT_EQ(ended.out, "");
  EXPECT_TRUE(ended.is_one_line_with({"--json"}));
}

TEST(Call, TheExampleOfTrainNamesARecipe) {
  const std::string help = run_fovea({"train", "--help"}).out;
  const size_t begin = help.find("--recipe ") + 9;
  const std::string name = help.substr(begin, help.find(' ', begin) - begin);
  EXPECT_NE(run_fovea({"list", "recipes"}).out.find(name + " "), std::string::npos) << help;
}

TEST(Call, ThreadsThatCannotStart) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "the sanitizer takes all addresses";
#endif
  // Stacks of 30 TB: the address space holds four.
  const auto ended =
      run_fovea({"eval", "x", "--threads", "9"}, {.shell = R"(ulimit -s 30000000000; exec "$@")"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_TRUE(ended.is_one_line_with({"[threads] 9 threads are wanted", "--threads"}));
  const auto many = run_fovea({"eval", "x", "--threads", "100000"});
  EXPECT_EQ(many.exit_code, 2);
  EXPECT_TRUE(many.is_one_line_with({"--threads takes at most"}));
}

TEST(Call, AFullDiskBehindStdoutIsAnError) {
  const auto ended = run_fovea({"list", "models"}, {.stdout_to = "/dev/full"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_TRUE(ended.is_one_line_with({"[stdout]", "No space left"}));
}

}  // namespace
}  // namespace fovea::cli_test
