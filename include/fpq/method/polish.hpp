// SPDX-License-Identifier: Apache-2.0
// Floor 7. Coordinate descent on the codes that the methods before it made; scales stay.
#pragma once

#include "fpq/method/method.hpp"

namespace fpq {

struct polish_method {
    static constexpr char const* name = "polish";
    int passes = 2;

    [[nodiscard]] method_needs needs() const noexcept { return {true}; }

    template <class B>
    void apply(B const& b, linear_group<B>& group) const;

    [[nodiscard]] bool operator==(polish_method const&) const noexcept = default;
};

template <class B>
void polish_method::apply(B const& b, linear_group<B>& group) const {
    for (group_member<B>& m : group.members) {
        solve_polish(b, m.weight, input_moment(group, m), output_moment(m), passes,
                     group.dead_columns_zeroed, m.result);
    }
}

}  // namespace fpq
