// SPDX-License-Identifier: Apache-2.0
// Floor 7. GPTQ towards what the model's loss feels of a linear, tr(H_O dW H_I dW^T): every linear
// has an H_O and a token-weighted H_I of its own, so nothing is shared within a group. A linear
// without an H_O is solved under its H_I alone, `guided`. Methods that follow improve the same
// objective.
#pragma once

#include <cstddef>
#include <limits>

#include "fpq/method/method.hpp"
#include "fpq/solve/options.hpp"

namespace fpq {

struct two_sided_method {
    static constexpr char const* name = "two_sided";
    quant_order order = quant_order::natural;
    double rel_damp = 0.01;  ///< of the mean diagonals of both second moments

    [[nodiscard]] method_needs needs() const noexcept { return {false, true, true}; }

    template <class B>
    void apply(B const& b, linear_group<B>& group) const;

    [[nodiscard]] bool operator==(two_sided_method const&) const noexcept = default;
};

template <class B>
void two_sided_method::apply(B const& b, linear_group<B>& group) const {
    for (group_member<B>& m : group.members) {
        if (m.weighted_moment == nullptr) {
            fail_usage("--objective two_sided", m.module, "the moments of its gradients", "none");
        }
        if (m.output_moment == nullptr) {
            m.result = solve_gptq(b, m.weight, *m.weighted_moment,
                                  factor_moment(b, *m.weighted_moment, order, rel_damp, m.module),
                                  group.args, group.global_scale, m.module);
            m.result.report.objective = solve_objective::guided;
            continue;
        }
        m.result = solve_two_sided(b, m.weight, *m.weighted_moment, *m.output_moment, order,
                                   rel_damp, std::numeric_limits<std::size_t>::max(), group.args,
                                   group.global_scale, m.module);
    }
    group.dead_columns_zeroed = true;
}

}  // namespace fpq
