// SPDX-License-Identifier: Apache-2.0
// Wing cuda. The scale of one group by each rule, found by its sixteen lanes: the candidates, their
// order and their errors are those of fpq::scale_search (quant/scale_search.hpp), which is the
// oracle. Device.
#pragma once

#include <cstdint>

#include "fpq/core/rounded.hpp"
#include "fpq/cuda/observe/group_team.cuh"
#include "fpq/format/grid_rule.hpp"
#include "fpq/format/stored_scale.hpp"

namespace fpq::cuda {

/// Factors of the fp16 sweep, 2^(i / 35), made on the host: exp2 differs from library to library.
struct sweep_factors {
    static constexpr int count = fp16_highest - fp16_lowest + 1;
    double at[count];

    [[nodiscard]] FPQ_HD double operator()(int i) const noexcept { return at[i - fp16_lowest]; }
};

/// What the search is asked; made by the host.
struct search_rules {
    quant_format format;
    grid_rule grid;    // of the symmetric element
    grid_rule bounds;  // the widest grid that any zero point gives
    int bits;
    scale_rule rule;  // settled: no fixed rule of E8M0
    scale_rule mx;
    float global;
    bool signed_end;
};

/// fl(v / s) on the grid, times s.
__device__ inline float snapped(float v, float s, grid_rule const& grid) {
    float const x = div_rn(v, s);
    return mul_rn(grid.integer ? snap<true>(x, grid) : snap<false>(x, grid), s);
}

/// What a kernel is compiled for: one with every search in it holds more than there are registers.
enum class search_kind : std::uint8_t { plain, bytes, halves, asymmetric, shrink };

/// The kind that a rule of a format needs.
FPQ_HD constexpr search_kind kind_of_search(quant_format const& format, scale_rule rule) noexcept {
    if (rule == scale_rule::mse) {
        return search_kind::shrink;
    }
    if (rule != scale_rule::sweep && rule != scale_rule::four_over_six) {
        return search_kind::plain;
    }
    return format.scale != scale_kind::fp16 ? search_kind::bytes
           : format.symmetric               ? search_kind::halves
                                            : search_kind::asymmetric;
}

template <search_kind Kind>
class team_search {
public:
    __device__ team_search(search_rules const& rules, sweep_factors const& factors,
                           group_team& team)
        : r_(rules), factors_(factors), team_(team) {}

    /// The scale of the loaded group. An all-zero or infinite group gets its minmax scale, but for
    /// abs_max and quest.
    [[nodiscard]] __device__ group_scale find() {
        if constexpr (Kind == search_kind::plain) {
            return r_.rule == scale_rule::abs_max || r_.rule == scale_rule::quest ? statistic()
                                                                                  : minmax();
        }
        if (team_.amax() == 0.0F || !is_finite(team_.amax())) {
            return minmax();
        }
        team_.normalise();
        if constexpr (Kind == search_kind::shrink) {
            return mse();
        } else if constexpr (Kind == search_kind::halves) {
            return sweep_fp16();
        } else if constexpr (Kind == search_kind::asymmetric) {
            return sweep_asymmetric();
        } else {
            return r_.rule == scale_rule::four_over_six ? four_over_six() : sweep_bytes();
        }
    }

    [[nodiscard]] __device__ grid_rule grid_at(std::uint8_t zero) const {
        return r_.format.symmetric ? r_.grid : with_zero(r_.grid, r_.bits, zero);
    }

private:
    static constexpr double bound_slack = 1.0 + 1e-5;
    static constexpr double mse_bound_slack = 1.0 + 1e-4;

    struct found {
        group_scale scale;
        double error;
        int index;
    };

    [[nodiscard]] __device__ base_scale minmax_base() const {
        return minmax_base_of(r_.format, team_.least(), team_.most());
    }

    [[nodiscard]] __device__ group_scale minmax() const {
        base_scale const b = minmax_base();
        return store_scale(r_.format, r_.grid, b.scale, team_.amax(), b.zero, r_.mx, r_.global);
    }

    [[nodiscard]] __device__ group_scale stored(std::uint16_t pattern, std::uint8_t zero) const {
        return decode_group_scale(r_.format.scale, pattern, zero, r_.global);
    }

    [[nodiscard]] __device__ group_scale statistic() const {
        bool const nv = r_.format.scale == scale_kind::e4m3;
        mx_rule_constants const mx = mx_constants(r_.rule, false, r_.global);
        if (r_.rule == scale_rule::abs_max) {
            float const amax = team_.amax();
            return stored(nv ? nv_byte_of_maximum(r_.rule, amax, r_.global) : mx_byte(mx, amax), 0);
        }
        float sum = 0.0F;
        float squares = 0.0F;
        for (std::uint32_t i = 0; i < team_.count(); ++i) {
            float const v = team_.value(i);
            sum = add_rn(sum, v);
            squares = add_rn(squares, mul_rn(v, v));
        }
        float const per = div_rn(1.0F, static_cast<float>(team_.count()));
        float const scale = quest_scale(mul_rn(sum, per), mul_rn(squares, per));
        return stored(nv ? nv_byte(scale, r_.global) : mx_byte(mx, scale), 0);
    }

    /// Squared error of a stored scale, as decoding will have it.
    [[nodiscard]] __device__ __forceinline__ double error_of(group_scale const& s) const {
        grid_rule const grid = grid_at(s.zero);
        float const step = mul_rn(s.value, team_.unit());
        return team_.sum<true>([&](float v) {
            float const d = add_rn(v, -snapped(v, step, grid));
            return mul_rn(d, d);
        });
    }

    [[nodiscard]] __device__ double clipping_bound(group_scale const& s) const {
        float const top = mul_rn(magnitude(mul_rn(s.value, team_.unit())), r_.bounds.reach());
        return team_.sum<true>([&](float v) {
            float const over = add_rn(magnitude(v), -top);
            float const cut = over > 0.0F ? over : 0.0F;
            return mul_rn(cut, cut);
        });
    }

    [[nodiscard]] __device__ double vanishing_bound(group_scale const& s) const {
        float const least = mul_rn(magnitude(mul_rn(s.value, team_.unit())), r_.bounds.smallest);
        return team_.sum<true>([&](float v) {
            float const size = magnitude(v);
            float const rest = add_rn(least, -size);
            float const near = rest > 0.0F ? rest : 0.0F;
            float const d = size < near ? size : near;
            return mul_rn(d, d);
        });
    }

    [[nodiscard]] __device__ group_scale four_over_six() const {
        group_scale const six = minmax();
        group_scale const four = stored(nv_byte(mul_rn(team_.amax(), 0.25F), r_.global), 0);
        return error_of(four) < error_of(six) ? four : six;
    }

    [[nodiscard]] __device__ group_scale mse() const {
        base_scale const b = minmax_base();
        grid_rule const grid = grid_at(b.zero);
        float const unit = team_.unit();
        float best_factor = 1.0F;
        double best = 0.0;
        for (int i = 0; i < mse_steps; ++i) {
            auto const factor = static_cast<float>(1.0 - mse_max_shrink * i / mse_steps);
            float const scale = mul_rn(b.scale, factor);
            float const cut = add_rn(mul_rn(team_.amax(), unit),
                                     -mul_rn(mul_rn(mul_rn(grid.reach(), b.scale), factor), unit));
            if (i > 0 && cut > 0.0F &&
                static_cast<double>(team_power_2_4(cut)) >= best * mse_bound_slack) {
                break;
            }
            float const step = mul_rn(scale, unit);
            double const e = team_.sum<false>(
                [&](float v) { return team_power_2_4(add_rn(v, -snapped(v, step, grid))); });
            if (i == 0 || e < best) {
                best = e;
                best_factor = factor;
            }
        }
        return store_scale(r_.format, r_.grid, mul_rn(b.scale, best_factor),
                           mul_rn(team_.amax(), best_factor), b.zero, r_.mx, r_.global);
    }

    /// Candidates start, start-1, .. low, then start+1, .. high; |scale| grows with the index.
    template <class Candidate>
    [[nodiscard]] __device__ __forceinline__ found walk(int start, int low, int high,
                                                        Candidate candidate) const {
        found best{candidate(start), 0.0, start};
        best.error = error_of(best.scale);
        for (int way = -1; way <= 1; way += 2) {
            for (int i = start + way; way < 0 ? i >= low : i <= high; i += way) {
                group_scale const s = candidate(i);
                double const bound = way < 0 ? clipping_bound(s) : vanishing_bound(s);
                if (bound >= best.error * bound_slack) {
                    break;
                }
                double const e = error_of(s);
                if (e < best.error) {
                    best = {s, e, i};
                }
            }
        }
        return best;
    }

    [[nodiscard]] __device__ group_scale sweep_bytes() const {
        std::uint8_t const zero = minmax_base().zero;
        auto const candidate = [&](int byte) {
            return stored(static_cast<std::uint16_t>(byte), zero);
        };
        if (r_.format.scale == scale_kind::e4m3) {
            return walk(minmax().stored, 1, e4m3::max_code, candidate).scale;
        }
        int const start = mx_scale_byte(scale_rule::floor, r_.grid, team_.amax(), r_.global);
        int const low = start - 2 > 0 ? start - 2 : 0;
        int const last = e8m0::max_code;
        return walk(start, low, start + 3 < last ? start + 3 : last, candidate).scale;
    }

    [[nodiscard]] __device__ group_scale sweep_fp16() const {
        float const base = minmax_base().scale;
        auto const at = [&](double factor) {
            auto const scale = static_cast<float>(__dmul_rn(static_cast<double>(base), factor));
            return stored(store_fp16(scale, r_.global), 0);
        };
        double sign = 1.0;
        found best = walk(0, fp16_lowest, fp16_highest, [&](int i) { return at(factors_(i)); });
        if (r_.grid.integer && r_.signed_end) {
            found const other =
                walk(0, fp16_lowest, fp16_highest, [&](int i) { return at(-factors_(i)); });
            if (other.error < best.error) {
                best = other;
                sign = -1.0;
            }
        }
        double const centre = sign * factors_(best.index);
        for (int i = -fp16_refine; i <= fp16_refine; ++i) {
            group_scale const s =
                at(__dmul_rn(centre, __dadd_rn(1.0, __dmul_rn(fp16_refine_step, i))));
            double const e = error_of(s);
            if (e < best.error) {
                best = {s, e, best.index};
            }
        }
        return best.scale;
    }

    [[nodiscard]] __device__ group_scale sweep_asymmetric() const {
        base_scale const b = minmax_base();
        int const last = (1 << r_.bits) - 1;
        group_scale best = minmax();
        double best_error = error_of(best);
        for (int step = 5; step >= -46; --step) {
            auto const scale =
                static_cast<float>(__dmul_rn(static_cast<double>(b.scale), factors_(step)));
            std::uint16_t const pattern = store_fp16(scale, r_.global);
            for (int shift = -1; shift <= 1; ++shift) {
                int const zero = b.zero + shift;
                if (zero < 0 || zero > last) {
                    continue;
                }
                group_scale const s = stored(pattern, static_cast<std::uint8_t>(zero));
                double const e = error_of(s);
                if (e < best_error) {
                    best = s;
                    best_error = e;
                }
            }
        }
        return best;
    }

    search_rules const& r_;
    sweep_factors const& factors_;
    group_team& team_;
};

}  // namespace fpq::cuda
