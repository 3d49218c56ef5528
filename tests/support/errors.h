#pragma once
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "fovea/core/error.h"

namespace fovea {

/// The text of the Error of this kind that `call` must throw.
template <class Call>
std::string message_of(ErrorKind kind, Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

/// The same, whose text must hold every one of `parts`, in one line.
template <class Call>
void expect_error(ErrorKind kind, const std::vector<std::string>& parts, Call&& call) {
  const std::string text = message_of(kind, call);
  EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  for (const auto& part : parts)
    EXPECT_NE(text.find(part), std::string::npos) << "no '" << part << "' in: " << text;
}

}  // namespace fovea
