#include "fovea/data/fact_questions.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <utility>

#include "fovea/core/error.h"
#include "fovea/core/random.h"

namespace fovea::data {
namespace {

// Numbers of kinds of words, one kind behind the other.
struct Kind {
  int64_t first, count;
};
constexpr Kind kPersons{1, 4}, kPlaces{5, 5}, kThings{10, 3}, kBoxes{13, 2};
constexpr int64_t kWent = 15, kTo = 16, kThe = 17, kTook = 18, kLies = 19, kIn = 20, kWhere = 21, kIs = 22;
constexpr int64_t kLongest = 6;

using Sentence = std::array<int64_t, kLongest>;

// A story, and where the newest sentence about each word stands.
struct Told {
  std::vector<Sentence> sentences;
  std::array<std::optional<int64_t>, 32> newest{};

  void tell(int64_t about, const Sentence& sentence) {
    newest.at(about) = static_cast<int64_t>(sentences.size());
    sentences.push_back(sentence);
  }
};

struct Question {
  Sentence words{};
  int64_t answer = 0;
  std::vector<int64_t> facts;
};

int64_t any_of(const Kind& kind, Random& random) {
  return kind.first + static_cast<int64_t>(random.below(kind.count));
}

// What is taken: things themselves, or the boxes that they lie in.
const Kind& taken(int64_t facts) { return facts == 2 ? kThings : kBoxes; }

void tell_one(Told& told, int64_t facts, Random& random) {
  const auto kind = static_cast<int64_t>(random.below(facts));
  const int64_t person = any_of(kPersons, random);
  if (kind == 0) return told.tell(person, {person, kWent, kTo, kThe, any_of(kPlaces, random)});
  if (kind == 1) {
    const int64_t thing = any_of(taken(facts), random);
    return told.tell(thing, {person, kTook, kThe, thing});
  }
  const int64_t thing = any_of(kThings, random);
  told.tell(thing, {kThe, thing, kLies, kIn, kThe, any_of(kBoxes, random)});
}

// Follows the newest sentences from `about` on; nothing where one is missing.
std::optional<Question> asked_of(const Told& told, int64_t facts, int64_t about) {
  Question question;
  question.words = facts == 1 ? Sentence{kWhere, kIs, about} : Sentence{kWhere, kIs, kThe, about};
  int64_t next = about;
  for (int64_t left = facts; left > 0; --left) {
    const auto found = told.newest.at(next);
    if (!found) return std::nullopt;
    question.facts.push_back(*found);
    const Sentence& said = told.sentences[*found];
    // Who took it comes first, the box and the place last.
    next = left == 2 ? said[0] : said[left == 1 ? 4 : 5];
  }
  question.answer = next;
  return question;
}

// Story and question number `index`, drawn anew until there is an answer.
std::pair<Told, Question> drawn_question(const FactOptions& options, int64_t index) {
  Random random(options.seed, static_cast<uint32_t>(options.facts), static_cast<uint64_t>(index));
  for (;;) {
    Told told;
    for (int64_t i = 0; i < options.sentences; ++i) tell_one(told, options.facts, random);
    const auto question =
        asked_of(told, options.facts, any_of(options.facts == 1 ? kPersons : kThings, random));
    if (question) return {std::move(told), *question};
  }
}

void check_facts(const FactOptions& options, int64_t first, int64_t count) {
  const bool fits = options.facts >= 1 && options.facts <= 3 && options.sentences >= options.facts &&
                    options.sentences <= 1'000'000 && first >= 0 && count >= 0 &&
                    count <= std::numeric_limits<int64_t>::max() - first;
  if (!fits) {
    throw usage_error(
        "fact_questions", "there are 1, 2 or 3 facts among at least as many sentences, a million at most",
        fmt::format("{} of {}, questions {} and {} more", options.facts, options.sentences, first, count),
        "Choose others.");
  }
}

}  // namespace

const std::vector<std::string>& fact_words() {
  static const std::vector<std::string> words = {"",       "anna",   "ben",     "clara",  "david", "attic",
                                                 "cellar", "garden", "kitchen", "office", "apple", "coin",
                                                 "letter", "box",    "basket",  "went",   "to",    "the",
                                                 "took",   "lies",   "in",      "where",  "is"};
  return words;
}

std::string fact_text(const at::Tensor& words) {
  const at::Tensor numbers = words.to(at::kCPU, at::kLong).contiguous();
  std::string text;
  for (int64_t j = 0; j < numbers.numel(); ++j) {
    const int64_t word = numbers.const_data_ptr<int64_t>()[j];
    if (word == 0) continue;
    if (word < 0 || word >= static_cast<int64_t>(fact_words().size())) {
      throw usage_error("fact_text", "words must be numbers of fact_words()", std::to_string(word),
                        "Give what make_fact_questions() made.");
    }
    if (!text.empty()) text += ' ';
    text += fact_words()[word];
  }
  return text;
}

FactQuestions make_fact_questions(const FactOptions& options, int64_t first, int64_t count) {
  check_facts(options, first, count);
  FactQuestions all{at::zeros({count, options.sentences, kLongest}, at::kLong),
                    at::zeros({count, kLongest}, at::kLong), at::empty({count}, at::kLong),
                    at::empty({count, options.facts}, at::kLong)};
  auto* story = all.story.mutable_data_ptr<int64_t>();
  auto* question = all.question.mutable_data_ptr<int64_t>();
  auto* facts = all.facts.mutable_data_ptr<int64_t>();
  for (int64_t b = 0; b < count; ++b) {
    const auto [told, asked] = drawn_question(options, first + b);
    for (const auto& sentence : told.sentences) story = std::ranges::copy(sentence, story).out;
    question = std::ranges::copy(asked.words, question).out;
    facts = std::ranges::copy(asked.facts, facts).out;
    all.answer.mutable_data_ptr<int64_t>()[b] = asked.answer;
  }
  return all;
}

}  // namespace fovea::data
