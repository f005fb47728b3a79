// SPDX-License-Identifier: Apache-2.0
// The line on the CPU as benchmarks call it.
#pragma once

#include <string>
#include <vector>

#include "fpq/graph/families.hpp"
#include "fpq/pipeline/flags.hpp"
#include "line/calls.hpp"

namespace fpq::bench {

/// Resolves and runs, without progress. Throws fpq::error.
inline void run_flags(harness_flags const& flags, int threads) {
    std::vector<std::string> notes;
    cpu const b{threads};
    run_plan const plan = plan_run(b, recipe_of(flags, notes), shipped_architectures);
    (void)run(b, plan, shipped_architectures, [](progress_event const&) {});
}

}  // namespace fpq::bench
