#include "fovea/cli/run.h"

#include "fovea/cli/commands.h"

namespace fovea::cli {

Argument tensors_flag(const std::string& name, const std::string& help) {
  return {.name = name, .value = "FILE", .help = help, .completes = Completes::files};
}

Argument tensors_output_flag(const std::string& help) {
  Argument flag = tensors_flag("--output", help);
  flag.ending = ".safetensors";
  return flag;
}

std::string required(const Call& call, const std::string& flag) {
  const auto value = call.get(flag);
  if (value && !value->empty()) return *value;
  throw usage_error(call.command(),
                    flag + " is needed: a .safetensors file. See '" + call.command() + " --help'.");
}

io::TensorMap load_input(const std::string& file) {
  try {
    return io::load_tensors(file);
  } catch (const Error& error) {
    // The reader takes every .safetensors file for a model's.
    if (error.kind() != ErrorKind::model_file) throw;
    throw data_error(file, message_of(error));
  }
}

std::string message_of(const Error& error) {
  const std::string text = error.what();
  const size_t end = text.find("] ");
  return end == std::string::npos ? text : text.substr(end + 2);
}

std::string placed_message_of(const Error& error) {
  const std::string text = error.what();
  const size_t end = text.find("] ");
  return end == std::string::npos ? text : text.substr(1, end - 1) + ": " + text.substr(end + 2);
}

Command run_command() {
  return {.name = "run",
          .help = "tensors in, tensors out, through a network or a mechanism",
          .example =
              "fovea run model resnet34 --weights w.safetensors --input x.safetensors --output y.safetensors",
          .commands = {run_model_command(), run_mechanism_command()}};
}

}  // namespace fovea::cli
