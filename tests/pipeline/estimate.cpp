// SPDX-License-Identifier: Apache-2.0
// Tests of pipeline/estimate.hpp: the work and the memory of a run, counted before it.
#include "fpq/pipeline/estimate.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/pipeline/memory.hpp"
#include "pipeline/models.hpp"

// Compiled in tools/line/preflight.cpp.
extern template double fpq::estimate_seconds<fpq::cpu>(fpq::cpu const&, fpq::run_plan const&,
                                                       fpq::run_work const&);

using namespace fpq;
using namespace fpq_test;

namespace {

recipe recipe_for(bool calibrated) {
    harness_flags f = small_run(format_family::mxfp);
    f.evaluation = {};
    f.gptq = calibrated;
    if (!calibrated) {
        f.calibration.dataset.clear();
    }
    std::vector<std::string> notes;
    return recipe_of(f, notes);
}

}  // namespace

TEST_CASE("work is counted by the plan", "[pipeline]") {
    recipe const r = recipe_for(true);
    cpu const b{1};
    run_plan plan = plan_run(b, r, shipped_architectures);
    model_on_cpu const model(b, r.model, shipped_architectures);
    model_graph const& graph = model.graph();
    double weights = 0.0;
    for (linear_node const& node : graph.linears()) {
        weights += static_cast<double>(node.values());
    }
    double const tokens = static_cast<double>(plan.calibration_tokens);
    run_work const calibrated = count_work(plan, graph, 0);
    run_work const evaluated = count_work(plan, graph, 1000);
    CHECK(calibrated.rounded == std::vector<double>{weights});
    CHECK(calibrated.products > 4.0 * tokens * weights);  // two passes, and the second moments
    CHECK(calibrated.solving > 0.0);
    model_config const& c = graph.config();
    CHECK(evaluated.products - calibrated.products ==
          Approx(4000.0 * weights + 4000.0 * static_cast<double>(c.vocab_size * c.hidden_size)));
    plan = plan_run(b, recipe_for(false), shipped_architectures);
    run_work const direct = count_work(plan, graph, 0);
    CHECK(direct.products + direct.attention + direct.solving == 0.0);
    CHECK(direct.rounded == calibrated.rounded);
    CHECK(estimate_seconds(b, plan, direct) > 0.0);
    CHECK(plan.peak_memory < std::uint64_t{32} << 20);  // such a process takes 15 MiB
}

TEST_CASE("the memory of a rehearsal counts the reading of texts, windows and an evaluation",
          "[pipeline]") {
    cpu const b{1};
    harness_flags f = small_run(format_family::mxfp);
    std::vector<std::string> notes;
    run_plan plan = plan_run(b, recipe_of(f, notes), shipped_architectures);
    model_on_cpu const model(b, plan.model, shipped_architectures);
    model_config const& c = model.config();
    std::uint64_t const without = estimate_memory(plan, model.graph(), 0);
    CHECK(without == plan.peak_memory + 4 * plan.calibration_tokens);
    std::uint64_t const more =
        estimate_memory(plan, model.graph(), 2000) - estimate_memory(plan, model.graph(), 1000);
    CHECK(more == 1000 * (4 + 2 * 4 * c.hidden_size));
    CHECK(estimate_memory(plan, model.graph(), 1) > without + 8 * c.vocab_size);
    // What reading took is the most that this process held.
    constexpr std::size_t much = std::size_t{200} << 20;
    {
        std::vector<char> const held(much, 'x');
        REQUIRE(held.back() == 'x');
    }
    CHECK(rehearse(b, plan, shipped_architectures, no_progress).memory >= much);
}
