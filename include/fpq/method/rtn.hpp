// SPDX-License-Identifier: Apache-2.0
// Floor 7. Rounding to nearest. Without weights from a calibration it needs no layer at all: the
// run then streams rows from the file (rounded_rows.hpp).
#pragma once

#include "fpq/method/method.hpp"

namespace fpq {

struct rtn_method {
    static constexpr char const* name = "rtn";
    /// The sweep weighs its squared errors by the diagonal of the second moment.
    bool weigh_by_moment = false;

    [[nodiscard]] method_needs needs() const noexcept { return {weigh_by_moment}; }

    template <class B>
    void apply(B const& b, linear_group<B>& group) const {
        for (group_member<B>& m : group.members) {
            m.result = solve_rtn(b, m.weight, group.second_moment, group.args, group.global_scale,
                                 m.module);
        }
    }

    [[nodiscard]] bool operator==(rtn_method const&) const noexcept = default;
};

}  // namespace fpq
