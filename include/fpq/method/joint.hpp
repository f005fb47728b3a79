// SPDX-License-Identifier: Apache-2.0
// Floor 7. Descent on the scales and codes that the methods before it made, together.
#pragma once

#include "fpq/method/method.hpp"

namespace fpq {

struct joint_method {
    static constexpr char const* name = "joint";
    int sweeps = 2;

    [[nodiscard]] method_needs needs() const noexcept { return {true}; }

    template <class B>
    void apply(B const& b, linear_group<B>& group) const;

    [[nodiscard]] bool operator==(joint_method const&) const noexcept = default;
};

template <class B>
void joint_method::apply(B const& b, linear_group<B>& group) const {
    for (group_member<B>& m : group.members) {
        solve_joint(b, m.weight, input_moment(group, m), output_moment(m), sweeps,
                    group.dead_columns_zeroed, m.result);
    }
}

}  // namespace fpq
