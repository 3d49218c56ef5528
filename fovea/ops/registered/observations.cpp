#include "fovea/ops/registered/observations.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string>

#include "fovea/core/error.h"
#include "fovea/core/listed.h"
#include "fovea/core/nearest.h"

namespace fovea::registered {
namespace {

using Shape = std::vector<c10::SymInt>;

Shape each_query(const ObservedSizes& n) { return {n.queries}; }
Shape each_key(const ObservedSizes& n) { return {n.keys}; }
Shape each_pair(const ObservedSizes& n) { return {n.queries, n.keys}; }
Shape each_top(const ObservedSizes& n) { return {n.queries, n.wanted.top_k.value_or(0)}; }
Shape each_row(const ObservedSizes& n) { return {static_cast<int64_t>(n.wanted.rows.size()), n.keys}; }
Shape each_block(const ObservedSizes& n) {
  if (!n.wanted.blocks) return {n.queries};
  auto [queries, keys] = *n.wanted.blocks;
  if (queries < 1 || keys < 1) {
    throw usage_error("attend", "the sizes of blocks must be at least 1",
                      std::to_string(queries) + " and " + std::to_string(keys),
                      "They are numbers of queries and keys.");
  }
  // Larger than any length, and below where sums overflow.
  queries = std::min(queries, int64_t{1} << 40), keys = std::min(keys, int64_t{1} << 40);
  return {(n.queries + (queries - 1)) / queries, (n.keys + (keys - 1)) / keys};
}

const Observation kObservations[] = {
    {.name = "weights",
     .way = "weights",
     .shape = each_pair,
     .result = &AttendResult::weights,
     .option = &AttendOptions::weights},
    {.name = "lse",
     .way = "lse",
     .shape = each_query,
     .result = &AttendResult::lse,
     .option = &AttendOptions::lse},
    {.name = "entropy",
     .way = "entropy",
     .shape = each_query,
     .observed = &AttendObserved::entropy,
     .flag = &AttendObservation::entropy},
    {.name = "distance",
     .way = "distance",
     .shape = each_query,
     .observed = &AttendObserved::distance,
     .flag = &AttendObservation::distance},
    {.name = "argmax",
     .way = "argmax",
     .shape = each_query,
     .holds_keys = true,
     .observed = &AttendObserved::argmax,
     .flag = &AttendObservation::argmax},
    {.name = "received",
     .way = "received",
     .shape = each_key,
     .observed = &AttendObserved::received,
     .flag = &AttendObservation::received},
    {.name = "top_weights", .way = "TopK", .shape = each_top, .observed = &AttendObserved::top_weights},
    {.name = "top_keys",
     .way = "TopK",
     .shape = each_top,
     .holds_keys = true,
     .observed = &AttendObserved::top_keys},
    {.name = "blocks", .way = "Blocks", .shape = each_block, .observed = &AttendObserved::blocks},
    {.name = "rows", .way = "Rows", .shape = each_row, .observed = &AttendObserved::rows}};

// `weights, lse, ... or Rows`, or those with sizes alone.
std::string ways(bool with_sizes_only) {
  std::vector<std::string> found;
  for (const Observation& known : kObservations) {
    const bool has_sizes = !known.option && !known.flag;
    if (with_sizes_only && !has_sizes) continue;
    if (std::find(found.begin(), found.end(), known.way) == found.end()) found.emplace_back(known.way);
  }
  return listed(found, "or");
}

}  // namespace

const Observation* known_observation(const std::string& name) {
  const auto* found = std::find_if(std::begin(kObservations), std::end(kObservations),
                                   [&](const Observation& known) { return name == known.name; });
  return found == std::end(kObservations) ? nullptr : found;
}

at::Tensor find_observation(const std::string& name, const ObservedAttend& both) {
  const Observation* known = known_observation(name);
  if (!known) {
    std::vector<std::string> names;
    for (const Observation& other : kObservations) names.emplace_back(other.name);
    throw usage_error("attend", "what is observed must be a known thing", "'" + name + "'",
                      suggest_name(name, names, "Ask for " + ways(/*with_sizes_only=*/false) + "."));
  }
  const at::Tensor& found = known->result ? both.result.*known->result : both.observed.*known->observed;
  if (found.defined()) return found;
  throw usage_error("attend", name + " needs a size", "none",
                    "Ask for it by " + ways(/*with_sizes_only=*/true) + ".");
}

}  // namespace fovea::registered
