// SPDX-License-Identifier: Apache-2.0
// Floor 4. What a solver is asked and what it answers. RTN and GPTQ share both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/view.hpp"
#include "fpq/quant/observer.hpp"
#include "fpq/quant/packed_matrix.hpp"

namespace fpq {

/// The order in which GPTQ fixes columns: as they lie, or by decreasing diag(H). Scales belong to
/// the original groups in both ("static groups"), so the file needs no column index.
enum class quant_order : std::uint8_t { natural, activation };

struct solve_options {
    /// Finds the scales before any rounding; its global_scale is the caller's.
    observer_options observer{};
    /// Damping added to diag(H), as a fraction of mean(diag(H)).
    double rel_damp = 0.01;
    /// Columns whose rounding errors are fed forward together: the recursion over columns splits at
    /// multiples of it. Affects speed and last bits only.
    std::size_t block = 128;
    quant_order order = quant_order::natural;
    int threads = 0;  ///< at least 1: the caller states them
    /// The sweep observer weights its squared errors by diag(H), unless it has weights already.
    bool weight_by_diagonal = true;
    /// With weight_by_diagonal, GPTQ weights by the innovation variances 1/U_jj^2 instead: what
    /// an error costs once later columns have made up for it.
    bool weight_by_innovation = false;
    /// Columns that no token ever excited: their weights become 0. False: rounded to nearest.
    bool zero_dead_columns = true;
};

/// What a layer was solved for: its output error tr(dW H_I dW^T); what the model's loss feels of
/// it, tr(H_O dW H_I dW^T); or the first with token-weighted H_I, where H_O did not fit.
enum class solve_objective : std::uint8_t { output, two_sided, guided };

constexpr char const* name_of(solve_objective objective) noexcept {
    constexpr char const* names[] = {"output", "two_sided", "guided"};
    return names[static_cast<int>(objective)];
}

struct solve_report {
    /// The objective of dW over that of W, nothing damped; 0 without a Hessian or when W's is 0.
    double relative_error = 0;
    /// Its denominator: tr(W H W^T), in H's units, or tr(H_O W H_I W^T).
    double energy = 0;
    /// How often the damping was raised tenfold before the factorisation succeeded.
    int damping_retries = 0;
    /// What was added to diag(H), in H's units.
    double damping = 0;
    std::size_t dead_columns = 0;
    solve_objective objective = solve_objective::output;
    double row_damping = 0;  ///< what was added to diag(H_O), in its units
};

struct solve_result {
    packed_matrix weight;
    solve_report report;
};

namespace detail {

/// Refuses options whose threads nobody stated.
inline void require_threads(solve_options const& options, std::string_view name) {
    if (options.threads < 1) {
        fail_usage("solve_options.threads", name, "1 or more, stated by the caller",
                   std::to_string(options.threads));
    }
}

/// Refuses a non-finite weight by name and place.
inline void require_finite_weight(matrix_view<float const> w, std::string_view name) {
    for (std::size_t i = 0; i < w.rows; ++i) {
        float const* const row = w.row(i);
        float probe = 0;  // stays 0 unless something is infinite or NaN
        for (std::size_t j = 0; j < w.cols; ++j) {
            probe += row[j] * 0.0F;
        }
        if (probe == 0.0F) {
            continue;
        }
        for (std::size_t j = 0; j < w.cols; ++j) {
            if (!(row[j] * 0.0F == 0.0F)) {
                fail_input(
                    "non-finite weight",
                    std::string(name) + "[" + std::to_string(i) + ", " + std::to_string(j) + "]",
                    "a finite number", std::to_string(row[j]));
            }
        }
    }
}

}  // namespace detail

}  // namespace fpq
