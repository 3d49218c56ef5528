#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "fovea/core/isa.h"
#include "fovea/kernels/cpu/gradient_rows.h"
#include "fovea/kernels/cpu/softmax_rows.h"
#include "fovea/ops/attend_fused.h"

// A process for each instruction set of this machine, forced by FOVEA_ISA: which of our kernels it calls,
// what oneDNN says that it may use, and which instructions oneDNN's products were made of, by disassembling
// what it wrote.

/// A place whose address nm knows as well.
extern "C" void fovea_isa_proof_anchor() {}

namespace fovea {
namespace {

std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) return text;
  char part[4096];
  for (size_t n; (n = fread(part, 1, sizeof part, pipe)) > 0;) text.append(part, n);
  EXPECT_EQ(pclose(pipe), 0) << command;
  return text;
}

std::string this_program() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

// "KERNEL distance from the anchor", a line each.
template <class Function>
void print_kernel(Function* function) {
  const auto place = reinterpret_cast<intptr_t>(function);
  std::printf("KERNEL %" PRIdPTR "\n", place - reinterpret_cast<intptr_t>(&fovea_isa_proof_anchor));
}

// What the processes run.
TEST(IsaProof, Child) {
  if (!std::getenv("FOVEA_ISA_PROOF")) GTEST_SKIP() << "other tests run it, in processes of its own";
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = at::randn({1, 2, 100, 64}).to(type).requires_grad_();
    attend_fused(x, x, x, {}).out.sum().backward();
  }
  print_kernel(kernels::softmax_kernels(kernels::Type::f32).rows);
  print_kernel(kernels::softmax_kernels(kernels::Type::f32).rescale);
  print_kernel(kernels::gradient_kernels(kernels::Type::f32).weights);
  print_kernel(kernels::gradient_kernels(kernels::Type::f32).scores);
}

// Names of the kernels that a child printed, as the symbol table has them.
std::vector<std::string> kernel_names(const std::string& printed) {
  std::istringstream symbols(output_of("nm -C --defined-only '" + this_program() + "'"));
  std::vector<std::pair<int64_t, std::string>> all;
  int64_t anchor = 0;
  for (std::string line; std::getline(symbols, line);) {
    if (line.size() < 20 || line[0] == ' ') continue;
    all.emplace_back(std::stoll(line.substr(0, 16), nullptr, 16), line.substr(19));
    if (all.back().second == "fovea_isa_proof_anchor") anchor = all.back().first;
  }
  std::vector<std::string> names;
  std::istringstream lines(printed);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("KERNEL ")) continue;
    for (const auto& [place, name] : all) {
      if (place == anchor + std::stoll(line.substr(7))) names.push_back(name);
    }
  }
  return names;
}

// The strongest set in the products that oneDNN wrote into `folder`.
Isa isa_of_products(const std::filesystem::path& folder) {
  Isa strongest = Isa::baseline;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string text = output_of("objdump -D -b binary -m i386:x86-64 '" + entry.path().string() + "'");
    const auto has = [&](const char* word) { return text.find(word) != std::string::npos; };
    const Isa isa = has("tdpbf16ps")   ? Isa::amx
                    : has("vdpbf16ps") ? Isa::avx512_bf16
                    : has("%zmm")      ? Isa::avx512
                    : has("%ymm")      ? Isa::avx2
                                       : Isa::baseline;
    strongest = std::max(strongest, isa);
  }
  return strongest;
}

// What oneDNN calls a set that bounds it.
std::string onednn_name(Isa isa) {
  switch (isa) {
    case Isa::baseline:
      return "";
    case Isa::avx2:
      return "isa:Intel AVX2\n";
    case Isa::avx512:
      return "isa:Intel AVX-512 with AVX512BW, AVX512VL, and AVX512DQ extensions\n";
    case Isa::avx512_bf16:
      return "isa:Intel AVX-512 with Intel DL Boost and bfloat16 support\n";
    case Isa::amx:
      return "and Intel AMX with bfloat16";
  }
  return "";
}

void expect_forced(Isa isa) {
  std::string folder = (std::filesystem::temp_directory_path() / "fovea_isa_XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const std::string name(isa_name(isa));
  const std::string printed = output_of("cd '" + folder + "' && FOVEA_ISA_PROOF=1 FOVEA_ISA=" + name +
                                        " ONEDNN_VERBOSE=all ONEDNN_JIT_DUMP=1 '" + this_program() +
                                        "' --gtest_filter=IsaProof.Child");
  EXPECT_NE(printed.find(onednn_name(isa)), std::string::npos) << printed;
  EXPECT_EQ(isa_name(isa_of_products(folder)), name);
  const std::string kernels = std::string(isa_name(std::min(isa, Isa::avx512))) + "::";
  const auto names = kernel_names(printed);
  EXPECT_EQ(names.size(), 4u) << printed;
  for (const auto& kernel : names) EXPECT_NE(kernel.find(kernels), std::string::npos) << kernel;
  std::filesystem::remove_all(folder);
}

TEST(IsaProof, TheForcedSetRunsInOurCodeAndInOneDnn) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the plain build shows it";
#endif
  if (std::getenv("FOVEA_ISA")) GTEST_SKIP() << "forces one itself";
  for (const Isa isa : {Isa::baseline, Isa::avx2, Isa::avx512, Isa::avx512_bf16, Isa::amx}) {
    if (isa > detected_isa()) break;
    SCOPED_TRACE(isa_name(isa));
    expect_forced(isa);
  }
}

}  // namespace
}  // namespace fovea
