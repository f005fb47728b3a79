// SPDX-License-Identifier: Apache-2.0
// fpq/method/two_sided.hpp: a chain behind it works towards the same objective with the moments of
// each member, and needs says which those are.
#include "fpq/method/two_sided.hpp"

#include <cstddef>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "fpq/backend/cpu/solve.hpp"
#include "fpq/method/methods.hpp"
#include "solve/moments.hpp"
#include "support/gaussian.hpp"

TEST_CASE("two_sided, polish and joint work on one objective, of each member's own moments",
          "[method]") {
    std::size_t const m = 40;
    std::size_t const n = 64;
    fpq::cpu const b{1};
    auto const w = fpq_test::gaussian(2 * m * n, 51, 0, 0.05F);
    std::vector<fpq::hessian> const inputs{fpq_test::correlated_moment(n, 300, 52),
                                           fpq_test::correlated_moment(n, 300, 53)};
    std::vector<fpq::hessian> const outputs{fpq_test::correlated_moment(m, 100, 54),
                                            fpq_test::correlated_moment(m, 100, 55)};
    std::vector<fpq::method> const chain{fpq::two_sided_method{fpq::quant_order::activation, 0.01},
                                         fpq::polish_method{1}, fpq::joint_method{1}};
    CHECK(fpq::needs_of(chain).output_moment);
    CHECK(fpq::needs_of(chain).weighted_moment);
    CHECK_FALSE(fpq::needs_of({fpq::gptq_method{}, fpq::joint_method{1}}).output_moment);
    fpq::linear_group<fpq::cpu> group;
    group.args = {fpq::nvfp4, fpq::scale_rule::sweep};
    group.global_scale = 1024.0F;
    for (std::size_t i = 0; i < 2; ++i) {
        fpq::group_member<fpq::cpu> member{"layer", fpq::as_view(w.data() + i * m * n, m, n), {}};
        member.weighted_moment = &inputs[i];
        member.output_moment = &outputs[i];
        group.members.push_back(std::move(member));
    }
    std::vector<double> last(2, 1e30);
    for (std::size_t length = 1; length <= chain.size(); ++length) {
        fpq::apply(b, {chain.begin(), chain.begin() + static_cast<std::ptrdiff_t>(length)}, group);
        for (std::size_t i = 0; i < 2; ++i) {
            auto const& report = group.members[i].result.report;
            CHECK(report.objective == fpq::solve_objective::two_sided);
            std::vector<float> const own(w.begin() + static_cast<std::ptrdiff_t>(i * m * n),
                                         w.begin() + static_cast<std::ptrdiff_t>((i + 1) * m * n));
            double const exact = fpq_test::damped_objective(own, group.members[i].result.weight,
                                                            inputs[i], 0.0, &outputs[i], 0.0) /
                                 report.energy;
            CHECK(report.relative_error == Approx(exact).epsilon(1e-3));
            CHECK(report.relative_error < last[i]);
            last[i] = report.relative_error;
        }
    }
}

TEST_CASE("without its outputs' moment a linear is solved for token-weighted inputs alone",
          "[method]") {
    std::size_t const m = 24;
    std::size_t const n = 64;
    fpq::cpu const b{1};
    auto const w = fpq_test::gaussian(m * n, 61, 0, 0.05F);
    fpq::hessian const inputs = fpq_test::correlated_moment(n, 300, 62);
    std::vector<fpq::method> const chain{fpq::two_sided_method{fpq::quant_order::activation, 0.02},
                                         fpq::polish_method{1}, fpq::joint_method{1}};
    fpq::linear_group<fpq::cpu> group;
    group.args = {fpq::nvfp4, fpq::scale_rule::sweep};
    group.global_scale = 1024.0F;
    group.members.push_back({"layer", fpq::as_view(w.data(), m, n), {}});
    CHECK_THROWS_WITH(fpq::apply(b, {chain.front()}, group),
                      Catch::Contains("expected the moments of its gradients"));
    group.members.front().weighted_moment = &inputs;
    fpq::apply(b, {chain.front()}, group);
    fpq::solve_result const alone =
        fpq::solve_gptq(b, group.members.front().weight, inputs,
                        fpq::factor_moment(b, inputs, fpq::quant_order::activation, 0.02, "layer"),
                        group.args, group.global_scale, "layer");
    auto const& solved = group.members.front().result;
    CHECK(solved.report.objective == fpq::solve_objective::guided);
    CHECK(solved.weight.codes == alone.weight.codes);
    CHECK(solved.report.damping == alone.report.damping);
    CHECK(solved.report.row_damping == 0.0);
    fpq::apply(b, chain, group);
    CHECK(solved.report.objective == fpq::solve_objective::guided);
    CHECK(solved.report.relative_error < alone.report.relative_error);
}
