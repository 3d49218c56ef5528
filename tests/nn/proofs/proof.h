#pragma once
#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <map>
#include <ostream>
#include <string>
#include <variant>
#include <vector>

// A mechanism joins the suite by one row, which says of each of the six proofs what shows it, or why it does
// not apply: against its formula with gradients, gradcheck, an exact limit, no influence of what is hidden,
// the field's own implementation, the law of its cost.

namespace fovea::proofs {

/// Why a proof does not apply.
struct Reason {
  std::string text;
};

/// Where positions lie: tokens, then places row by row.
struct Grid {
  int64_t rows = 0, columns = 0, tokens = 0;
};

/// That of n positions which is nearest to a square; one of them a token where n is a prime.
Grid grid_of(int64_t n);

/// What a formula is given, in float64: operands with as many heads of keys as of queries, the mechanism's
/// parameters and buffers, and what the call lets see, boolean (B, 1, N, M).
struct Operands {
  at::Tensor q, k, v, x;
  std::map<std::string, at::Tensor> parameters;
  at::Tensor seen;
  /// (B): keys of each batch entry.
  at::Tensor lengths;
  Grid grid;

  int64_t queries() const { return q.size(2); }
  int64_t keys() const { return k.size(2); }
  at::Tensor parameter(const std::string& name) const { return parameters.at(name); }
  /// Positions (N, 1) and (M).
  at::Tensor i() const { return at::arange(queries()).unsqueeze(1); }
  at::Tensor j() const { return at::arange(keys()); }
};

/// (B, H, N, Dv), written from the paper, without the library.
using Formula = std::function<at::Tensor(const Operands& operands)>;

/// Where the mechanism equals another.
struct Limit {
  std::string text, equal_to;
  double within = 1e-12;
  /// What operands or parameters must be for it.
  std::function<void(Operands&)> where = {};
};

/// The implementation of the field, and the test of the same weights beside it.
struct Peer {
  std::string test;
};

/// Products and time over N grow with this exponent; the mechanism as it is for so many positions.
struct CostLaw {
  double exponent;
  std::function<std::string(int64_t n)> text;
  /// Time is spent in products: not where the kernel walks whole tiles, nor where a result costs more memory.
  bool timed = true;
  /// The shorter of the two lengths whose times are compared; 0: the suite's.
  int64_t shortest = 0;
};

struct ProofRow {
  /// As users write it.
  std::string text;
  Formula formula;
  std::variant<Limit, Reason> limit;
  std::variant<Peer, Reason> peer;
  std::variant<CostLaw, Reason> cost;
  /// Rows that q, k and v were projected from are wanted.
  bool rows = false;
  /// As many heads of keys as of queries.
  bool equal_heads = false;
  /// Of the memory that a call takes beside its operands and result, over N; 0: none grows.
  double memory_exponent = 1.0;
  /// Keys of the calls whose memory is measured, where that of their number hides what the queries take; 0:
  /// as many as queries.
  int64_t memory_keys = 0;
  /// Positions lie in grid_of() their number.
  bool grid = false;
  /// The mechanism of so many positions, where `text` does not fit all.
  std::function<std::string(int64_t n)> by_length = {};

  std::string text_of(int64_t n) const { return by_length ? by_length(n) : text; }
};

inline void PrintTo(const ProofRow& row, std::ostream* out) { *out << row.text; }

/// A law's text that is the same for any number of positions.
inline std::function<std::string(int64_t)> always(const char* text) {
  return [text](int64_t) { return std::string(text); };
}

/// A limit at which a parameter is 0.
inline std::function<void(Operands&)> with_zero(const char* parameter) {
  return [parameter](Operands& o) { o.parameters.at(parameter).zero_(); };
}

/// All rows, in the order of the registry.
const std::vector<ProofRow>& proof_rows();

}  // namespace fovea::proofs
