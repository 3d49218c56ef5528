// Stories of a small world, and what they are asked.
#include "fovea/data/fact_questions.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/errors.h"

namespace fovea::data {
namespace {

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

// Where a sentence is about `name`: it says of it, for the first time from behind, where it is or who has it.
std::string told_of(const std::vector<std::string>& said, const std::string& name) {
  if (said[0] == name && said[1] == "went") return said[4];
  if (said[1] == "took" && said[3] == name) return said[0];
  if (said[0] == "the" && said[1] == name) return said[5];
  return "";
}

// Reads the story from its end for each fact, as a reader would.
TEST(FactQuestions, TheFactsLeadToTheAnswer) {
  for (const int64_t facts : {1, 2, 3}) {
    const FactQuestions all = make_fact_questions({.facts = facts, .sentences = 9, .seed = 5}, 0, 200);
    for (int64_t b = 0; b < 200; ++b) {
      std::string next = words_of(fact_text(all.question[b])).back();
      for (int64_t f = 0; f < facts; ++f) {
        int64_t i = 8;
        while (told_of(words_of(fact_text(all.story[b][i])), next).empty()) --i;
        EXPECT_EQ(all.facts[b][f].item<int64_t>(), i);
        next = told_of(words_of(fact_text(all.story[b][i])), next);
      }
      EXPECT_EQ(fact_words()[all.answer[b].item<int64_t>()], next);
    }
  }
}

TEST(FactQuestions, ReadAsSentences) {
  const FactQuestions all = make_fact_questions({.facts = 3, .sentences = 40, .seed = 1}, 0, 1);
  std::set<std::string> verbs;
  for (int64_t i = 0; i < 40; ++i) {
    const auto words = words_of(fact_text(all.story[0][i]));
    verbs.insert(words[words[0] == "the" ? 2 : 1]);
  }
  EXPECT_EQ(verbs, (std::set<std::string>{"went", "took", "lies"}));
  EXPECT_EQ(fact_text(all.question[0]).substr(0, 13), "where is the ");
  expect_error(ErrorKind::usage, {"[fact_text]", "found 23"}, [] { fact_text(at::tensor({23})); });
}

// A question is its number's own, and answers are of all places.
TEST(FactQuestions, AreDrawnByNumber) {
  const FactOptions options{.facts = 2, .sentences = 6, .seed = 3};
  const FactQuestions all = make_fact_questions(options, 0, 300), some = make_fact_questions(options, 7, 2);
  EXPECT_TRUE(some.story.equal(all.story.slice(0, 7, 9)));
  EXPECT_TRUE(some.question.equal(all.question.slice(0, 7, 9)));
  EXPECT_FALSE(make_fact_questions({.facts = 2, .sentences = 6, .seed = 4}, 7, 2).story.equal(some.story));
  const at::Tensor counts = at::bincount(all.answer);
  EXPECT_EQ(counts.count_nonzero().item<int64_t>(), 5);
  EXPECT_LT(counts.max().item<int64_t>(), 100);
}

TEST(FactQuestions, RefusesWhatThereIsNot) {
  for (const FactOptions& options :
       {FactOptions{.facts = 0}, FactOptions{.facts = 4}, FactOptions{.facts = 3, .sentences = 2}}) {
    expect_error(ErrorKind::usage, {"[fact_questions] there are 1, 2 or 3 facts"},
                 [&] { make_fact_questions(options, 0, 1); });
  }
  expect_error(ErrorKind::usage, {"[fact_questions]"}, [] { make_fact_questions({}, 0, -1); });
  EXPECT_EQ(make_fact_questions({.facts = 3, .sentences = 3}, 0, 0).story.sizes(),
            (std::vector<int64_t>{0, 3, 6}));
}

}  // namespace
}  // namespace fovea::data
