#include "fovea/cli/each_image.h"

#include <c10/util/Exception.h>

#include <new>

#include "fovea/cli/console.h"
#include "fovea/cli/failure.h"
#include "fovea/core/error.h"

namespace fovea::cli {
namespace {

bool concerns_one_image(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& known) {
    return known.kind() == ErrorKind::data || known.kind() == ErrorKind::numeric;
  } catch (const c10::Error&) {
    return true;
  } catch (const std::bad_alloc&) {
    return true;
  } catch (...) {
    return false;
  }
}

// `[gradcam] ...` becomes `[photo.png] ...` where the line does not name the file.
Failure describe_for(const std::string& file, const std::exception_ptr& error) {
  Failure failure = describe_failure(error);
  const std::string name = one_line(file);
  if (failure.line.find(name) != std::string::npos) return failure;
  const size_t rest = failure.line.find("] ");
  failure.line = "[" + name + "] " + failure.line.substr(rest == std::string::npos ? 0 : rest + 2);
  return failure;
}

}  // namespace

int for_each_image(const Call& call, const ImageWork& images) {
  int exit_code = 0;
  for (const auto& file : call.all("IMAGE")) {
    try {
      images.work(file);
    } catch (...) {
      const auto error = std::current_exception();
      if (!concerns_one_image(error)) throw;
      const Failure failure = describe_for(file, error);
      note(failure.line);
      images.failed(file, failure.line);
      if (exit_code == 0) exit_code = failure.exit_code;
    }
  }
  return exit_code;
}

}  // namespace fovea::cli
