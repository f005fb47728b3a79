// SPDX-License-Identifier: Apache-2.0
// Floor 4. Coordinate descent on codes, scales fixed: re-rounds each code given all the others. Run
// after GPTQ it removes what the one-way sweep could not see; run after RTN it is a solver of its
// own. The objective, damped, never increases: one-sided by row, two-sided as a whole.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fpq/core/view.hpp"
#include "fpq/linalg/hessian.hpp"
#include "fpq/solve/descend.hpp"
#include "fpq/solve/descent.hpp"
#include "fpq/solve/options.hpp"

namespace fpq {

namespace detail {

/// A gain that rounding could have made up is no gain: the least part of the curvature's share.
inline constexpr float least_gain = 1e-5F;

/// Re-rounds columns [c0, c0 + width) of row r; writes the changes of the errors to `change`.
template <class Codec>
struct visit_codes {
    bool operator()(descent_input const& in, descent_state& s, std::size_t r, std::size_t c0,
                    std::size_t width, float* change) const {
        std::size_t const n = in.h.rows;
        std::size_t const group = in.format.group_of(n);
        group_scale const* const scales = s.scales.data() + r * in.format.groups(n);
        float* const slope = s.slope.data() + r * n + c0;
        float* const error = s.errors.data() + r * n + c0;
        std::uint8_t* const codes = s.codes.data() + r * n + c0;
        bool changed = false;
        for (std::size_t k = 0; k < width; ++k) {
            float const curvature = in.h(c0 + k, c0 + k) + in.damping;
            if (!(curvature > 0.0F)) {
                continue;
            }
            group_scale const& scale = scales[(c0 + k) / group];
            float const w = in.w(s.row0 + r, c0 + k);
            // The best value with all others fixed is w - (error - slope / curvature).
            float const target = (w - error[k]) + slope[k] / curvature;
            std::uint8_t const code = Codec::encode(target, scale.value, scale.zero);
            if (code == codes[k]) {
                continue;
            }
            float const delta = (w - Codec::decode(code, scale.value, scale.zero)) - error[k];
            if (!(delta * (2.0F * slope[k] + delta * curvature) <
                  -least_gain * delta * delta * curvature)) {
                continue;
            }
            codes[k] = code;
            error[k] += delta;
            change[k] = delta;
            changed = true;
            float const* const row = in.h.row(c0 + k) + c0;
            for (std::size_t j = 0; j < width; ++j) {
                slope[j] += delta * row[j];
            }
            slope[k] += delta * in.damping;
        }
        return changed;
    }
};

}  // namespace detail

/// Improves `solved`, the codes of w (out, in) by any method, by up to `passes` passes of
/// coordinate descent towards `goal`, damped by solved.report.damping. One-sided, the report's
/// relative error is updated; two-sided, two_sided_report makes it. The same bytes at any thread
/// count. Throws fpq::error (usage) when shapes disagree. Cost of a pass, n columns and m rows:
/// 3 m n^2 operations, with a coupling 2 m^2 n more; memory with a coupling 3 m n floats.
inline void polish(matrix_view<float const> w, descent_goal const& goal, int passes, int threads,
                   solve_result& solved) {
    detail::descend(w, goal, "polish", detail::descent_block, passes, threads, solved,
                    [](auto codec) { return detail::visit_codes<decltype(codec)>{}; });
}

/// Towards the output error under h; see above.
inline void polish(matrix_view<float const> w, hessian const& h, int passes, bool zero_dead,
                   int threads, solve_result& solved) {
    polish(w, {h, nullptr, zero_dead}, passes, threads, solved);
}

}  // namespace fpq
