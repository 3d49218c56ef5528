#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace fovea::data {

/// What stories of a small world are drawn by.
struct FactOptions {
  /// Supporting facts of a question: 1, 2 or 3.
  int64_t facts = 1;
  /// Sentences of a story, from `facts` to a million.
  int64_t sentences = 10;
  uint64_t seed = 0;
};

/// Questions as numbers of words of fact_words(), 0 where a sentence has ended.
struct FactQuestions {
  at::Tensor story;     ///< (B, sentences, J) int64, from the oldest sentence on
  at::Tensor question;  ///< (B, J)
  at::Tensor answer;    ///< (B)
  at::Tensor facts;  ///< (B, facts): the sentences that support the answer, in the order they must be read in
};

/// The words of the world; number 0 is empty and stands for none.
const std::vector<std::string>& fact_words();

/// A row of numbers as a sentence, such as "anna took the box".
std::string fact_text(const at::Tensor& words);

/// Where somebody or something is, in a world of persons, places, things and boxes, told by sentences drawn
/// at random of which the newest about each counts:
///   1 fact    where is anna?       anna went to the attic
///   2 facts   where is the coin?   anna took the coin, anna went to the attic
///   3 facts   where is the coin?   the coin lies in the box, anna took the box, anna went to the attic
/// Each fact is found by what the one before it says, and in no other order. Questions first ... first +
/// count - 1 of an endless row; the same options give the same. After bAbI's tasks 1 to 3 (Weston et al.
/// 2015, Towards AI-complete question answering, 3.1). Throws fovea::Error (usage) on other numbers of facts
/// or sentences, and on first or count below 0.
FactQuestions make_fact_questions(const FactOptions& options, int64_t first, int64_t count);

}  // namespace fovea::data
