#pragma once
#include <memory>
#include <string>
#include <vector>

namespace fovea {
class AttendFunctors;
}

namespace fovea::test {

/// A score and a mask as a user writes them, in a file without flags for an instruction set.
struct UserFunctors {
  std::string compiled;  ///< how: plain, clang_optimised ...
  std::shared_ptr<const AttendFunctors> (*make)();
};

/// One text by each compiler of this machine, with and without optimisation, and with checks that end the
/// program. Each copy enters itself before main().
std::vector<UserFunctors>& user_functors();

}  // namespace fovea::test
