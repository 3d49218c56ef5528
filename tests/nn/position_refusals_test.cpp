#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "fovea/nn/attention/alibi.h"
#include "tests/nn/schemes.h"
#include "tests/support/errors.h"

// What position schemes refuse.

namespace fovea::nn {
namespace {

TEST(Position, RefusesWhatItDoesNotKnow) {
  const auto refuses = [](const std::vector<std::string>& parts, const std::string& text,
                          const PositionShape& shape = schemes::shape()) {
    expect_error(ErrorKind::usage, parts, [&] { parse_position(text).build(shape); });
  };
  refuses({"[position]", "'rotery'", "Did you mean 'rotary'?"}, "rotery");
  refuses({"[rotary]", "'bse'", "Did you mean 'base'?"}, "rotary:bse=3");
  refuses({"[t5]", "num_buckets must be a whole number from 2", "'-3'", "fovea list positions t5"},
          "t5:num_buckets=-3");
  refuses({"half of the buckets of a side", "max_distance 3"}, "t5:num_buckets=32,max_distance=3");
  refuses({"[t5]", "bidirectional must be true or false"}, "t5:bidirectional=yes");
  refuses({"[rotary]", "even", "3 of 4"}, "rotary:size=3");
  refuses({"[rotary]", "no more than a head has", "6 of 4"}, "rotary:size=6");
  refuses({"[rotary]", "5 of 5"}, "rotary", {{1, 1, 5, 5, 5}, {}});
  refuses({"[rotary]", "factor must be a number above 0", "'0'"}, "rotary:scaling=linear,factor=0");
  refuses({"[rotary]", "scaling and factor go together", "no factor"}, "rotary:scaling=yarn");
  refuses({"[rotary]", "scaling and factor go together", "no scaling"}, "rotary:factor=2");
  refuses({"[rotary]", "no original_length"}, "rotary:scaling=llama3,factor=8");
  refuses({"[rotary]", "low_freq_factor must be below", "4 and 4"}, "rotary:low_freq_factor=4");
  refuses({"[rotary]", "beta_slow must be below", "40 and 32"}, "rotary:beta_slow=40");
  refuses({"[sine2d]", "rows and columns as `grid`", "a sequence"}, "sine2d");
  refuses({"[conditional]", "a sequence"}, "conditional");
  refuses({"[swin]", "a sequence"}, "swin");
  refuses({"[conditional]", "odd", "4"}, "conditional:kernel=4", schemes::grid(3, 3));
  PositionShape shape = schemes::grid(3, 3);
  shape.width = 6;
  refuses({"[sine2d]", "multiple of 4", "6"}, "sine2d", shape);
  shape.width = 5;
  refuses({"[sinusoidal]", "even", "5"}, "sinusoidal", shape);
  shape.width = 0;
  refuses({"[learned]", "width 0"}, "learned", shape);
}

TEST(Position, RefusesACallThatDoesNotFit) {
  const auto refuses = [](const std::vector<std::string>& parts, const std::string& text, auto&& change) {
    const auto scheme = schemes::make_scheme(text, schemes::grid(2, 3));
    AttentionInput input = schemes::random_call(6);
    change(input);
    expect_error(ErrorKind::usage, parts, [&] { scheme->attend(*schemes::scheme_softmax(), input); });
  };
  for (const char* text : {"rotary", "alibi", "t5", "swin", "shaw", "music"}) {
    const std::string where = "[" + std::string(text) + "]";
    refuses({where, "one sequence", "keys of another"}, text, [](auto& in) { in.cross = true; });
    refuses({where, "6 queries, 4 keys"}, text, [](auto& in) { in.k = in.v = in.k.narrow(2, 0, 4); });
    refuses({where, "4 positions, a grid of 6"}, text,
            [](auto& in) { in.q = in.k = in.v = in.k.narrow(2, 0, 4); });
    refuses({where, "behind each other"}, text, [](auto& in) { in.call.packed = PackedOffsets{}; });
    refuses({where, "(B, H, T, D)", "undefined"}, text, [](auto& in) { in.k = at::Tensor(); });
  }
  refuses({"[alibi]", "slopes are given once"}, "alibi",
          [](auto& in) { in.call.alibi_slopes = alibi_slopes(schemes::kHeads); });
  refuses({"[t5]", "given once"}, "t5", [](auto& in) { in.call.relative_table = at::zeros({1, 3}); });
  refuses({"[music]", "given once"}, "music", [](auto& in) { in.call.relative_keys = at::zeros({1, 3, 4}); });
  refuses({"[swin]", "given once"}, "swin", [](auto& in) {
    in.call.relative_grid = AttendGrid{at::zeros({1, 15}), 2, 3};
  });
  const auto rows = schemes::make_scheme("sine2d", schemes::grid(2, 3));
  expect_error(ErrorKind::usage, {"[sine2d]", "(B, 6, 12)", "(1, 5, 12)"}, [&] {
    rows->after(0, at::zeros({1, 5, 12}));
  });
}

}  // namespace
}  // namespace fovea::nn
