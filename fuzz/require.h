#pragma once
#include <cstdio>
#include <cstdlib>

namespace fovea::fuzz {

/// A property that every input must have; if one lacks it, libFuzzer keeps that input.
inline void require(bool holds, const char* property) {
  if (holds) return;
  std::fprintf(stderr, "violated: %s\n", property);
  std::abort();
}

}  // namespace fovea::fuzz
