#pragma once
#include <memory>

namespace fovea {
class AttendFunctors;
}

namespace fovea::test {

// A score and a mask as a user writes them, from one text compiled with and without optimisation, as its file
// has no compiler flag of its own.
std::shared_ptr<const AttendFunctors> user_functors_plain();
std::shared_ptr<const AttendFunctors> user_functors_optimised();

}  // namespace fovea::test
