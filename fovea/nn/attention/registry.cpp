#include "fovea/nn/attention/registry.h"

#include "fovea/core/error.h"
#include "fovea/core/nearest.h"

namespace fovea::nn {

const std::vector<MechanismEntry>& mechanism_entries() {
  static const std::vector<MechanismEntry> entries = {
      {"softmax", "out_i = sum_j softmax_j(q_i . k_j / sqrt(D)) v_j",
       "Vaswani et al. 2017, Attention is all you need, 3.2.1", "O(N M D) time, O(N M) memory", true},
  };
  return entries;
}

const MechanismEntry& find_mechanism(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& entry : mechanism_entries()) {
    if (entry.name == name) return entry;
    names.push_back(entry.name);
  }
  throw usage_error("attention", "the mechanism must be a known one; found '" + name + "'. " +
                                     suggest_name(name, names, "`fovea list mechanisms` shows all."));
}

}  // namespace fovea::nn
