#include "fovea/cli/failure.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <filesystem>
#include <new>
#include <nlohmann/json.hpp>

#include "fovea/cli/console.h"
#include "fovea/core/error.h"

namespace fovea::cli {
namespace {

constexpr const char* kLessMemory =
    "Lower batch_size, img_size or --threads, or set activation_checkpointing=true; `--dry-run` estimates "
    "the need.";

// The first sentence of libtorch's message: what follows are stack frames and C++ locations.
std::string first_line(std::string text) {
  if (const auto frames = text.find("\nException raised from"); frames != std::string::npos)
    text.resize(frames);
  return one_line(text.substr(0, text.find('\n')));
}

Failure describe_torch(const c10::Error& error) {
  const std::string text = first_line(error.what_without_backtrace());
  if (text.find("can't allocate memory") != std::string::npos) {
    const auto at = text.find("you tried to allocate");
    const std::string tried = at == std::string::npos ? "" : text.substr(at, text.find('.', at) - at);
    return {fmt::format("[memory] not enough for the tensors ({}). {}", tried, kLessMemory), 1};
  }
  return {fmt::format(
              "[libtorch] {} Check shapes and types of the input against `fovea summary` and, if they fit, "
              "report this line with the output of `fovea doctor --json`.",
              text),
          1};
}

}  // namespace

Failure describe_failure(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& known) {
    return {one_line(known.what()), known.exit_code()};
  } catch (const c10::Error& torch) {
    return describe_torch(torch);
  } catch (const std::bad_alloc&) {
    return {fmt::format("[memory] not enough memory. {}", kLessMemory), 1};
  } catch (const std::filesystem::filesystem_error& refused) {
    return {fmt::format("[files] '{}': {}. Check that the path exists and that you may write there.",
                        one_line(refused.path1().string()), refused.code().message()),
            1};
  } catch (const nlohmann::json::exception& json) {
    return {
        fmt::format("[json] {}. Check the configuration's values and their types.", one_line(json.what())),
        2};
  } catch (const std::exception& other) {
    return {fmt::format("[fovea] {}. Report this line with the output of `fovea doctor --json`.",
                        one_line(other.what())),
            1};
  } catch (...) {
    return {"[fovea] an unknown failure. Report the call with the output of `fovea doctor --json`.", 1};
  }
}

}  // namespace fovea::cli
