// SPDX-License-Identifier: Apache-2.0
// Floor 7. GPTQ: one factor for all linears of a group.
#pragma once

#include "fpq/core/hosted/error.hpp"
#include "fpq/method/method.hpp"
#include "fpq/solve/options.hpp"

namespace fpq {

struct gptq_method {
    static constexpr char const* name = "gptq";
    quant_order order = quant_order::natural;
    double rel_damp = 0.01;  ///< of the mean diagonal

    [[nodiscard]] method_needs needs() const noexcept { return {true}; }

    template <class B>
    void apply(B const& b, linear_group<B>& group) const;

    [[nodiscard]] bool operator==(gptq_method const&) const noexcept = default;
};

template <class B>
void gptq_method::apply(B const& b, linear_group<B>& group) const {
    auto const factor =
        factor_moment(b, *group.second_moment, order, rel_damp, group.members.front().module);
    for (group_member<B>& m : group.members) {
        m.result = solve_gptq(b, m.weight, *group.second_moment, factor, group.args,
                              group.global_scale, m.module);
        if (m.weight.cols > 0 && m.result.report.dead_columns == m.weight.cols) {
            fail_numeric("no calibration token excites this linear", m.module,
                         "an input other than 0", "only 0");
        }
    }
    group.dead_columns_zeroed = true;
}

}  // namespace fpq
