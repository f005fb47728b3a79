// SPDX-License-Identifier: Apache-2.0
// Floor 8. One decoder layer: transform its weights, watch its inputs, find the global scales that
// fused linears share, solve each linear. Holds the statistics of one layer at a time; knows
// nothing of checkpoints, text or files.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/half.hpp"
#include "fpq/linalg/second_moment.hpp"
#include "fpq/model/decoder.hpp"
#include "fpq/model/names.hpp"
#include "fpq/pipeline/recipe.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/quant/error_stats.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/solve/gptq.hpp"
#include "fpq/solve/rtn.hpp"
#include "fpq/transform/transform.hpp"

namespace fpq {

/// One linear as fpq represents it; every dialect is written from this.
struct quantized_linear {
    std::string module;  // "model.layers.0.self_attn.q_proj"
    linear_role role = linear_role::q;
    packed_matrix weight;             // (out, in), in the transformed basis
    float input_global_scale = 1.0F;  // divisor style; read only when inputs are quantized
};

/// Bytes of a linear's codes, scales, zero points and global scale.
inline std::uint64_t packed_size(packed_matrix const& w) {
    return w.codes.size() + w.scales.size() + w.zeros.size() + (w.format.has_global ? 4 : 0);
}

/// What the calibration saw of one shared input (q/k/v, o, gate/up, down).
struct input_statistics {
    std::unique_ptr<second_moment>
        moment;         // null when no solver needs it, or once it is solved with
    float amax = 0.0F;  // of the transformed input
};

/// Global scales of linear inputs by the role that names the shared input.
using input_scales = std::array<float, linear_roles.size()>;

inline float largest_magnitude(matrix_view<float const> x) {
    float amax = 0.0F;
    for (std::size_t i = 0; i < x.rows; ++i) {
        float const* const row = x.row(i);
        for (std::size_t j = 0; j < x.cols; ++j) {
            amax = std::max(amax, std::fabs(row[j]));
        }
    }
    return amax;
}

class layer_solver {
public:
    /// `transform` outlives the solver. Both formats are settled in `r`.
    layer_solver(recipe const& r, block_transform const& transform)
        : recipe_(r), transform_(transform) {}

    /// True when the solver must see inputs before it can solve.
    [[nodiscard]] bool needs_inputs() const { return needs_hessian() || needs_input_scale(); }

    [[nodiscard]] bool needs_hessian() const {
        bool const weighted_sweep =
            recipe_.w_observer == scale_rule::sweep && !recipe_.dataset.empty();
        return recipe_.quantizes_weights() && (recipe_.gptq || weighted_sweep);
    }

    [[nodiscard]] bool needs_input_scale() const {
        return recipe_.quantizes_inputs() && recipe_.family == format_family::nvfp;
    }

    /// w' = w M^-T for every linear of the layer.
    void transform_weights(decoder_layer& layer) const {
        if (transform_.kind() == transform_kind::identity) {
            return;
        }
        for (linear_role role : linear_roles) {
            linear_layer& linear = layer.linears[role_index(role)];
            transform_.apply_to_weights(as_view(linear.weight.data(), linear.out, linear.in));
        }
    }

    /// Hooks of the calibration forward: x becomes its transform, is recorded, then quantized with
    /// the global scale of this window alone.
    [[nodiscard]] layer_hooks observing_hooks() {
        layer_hooks hooks;
        hooks.on_input = [this](linear_role role, matrix_view<float> x) {
            transform_.apply_to_inputs(x);
            input_statistics& seen = statistics_[role_index(role)];
            float const amax = largest_magnitude(x);
            seen.amax = std::max(seen.amax, amax);
            if (needs_hessian()) {
                if (!seen.moment) {
                    seen.moment = std::make_unique<second_moment>(x.cols);
                }
                seen.moment->add(x, recipe_.threads);
            }
            quantize_input(x, input_scale(amax));
        };
        return hooks;
    }

    /// Hooks of the forward that the quantized model will do.
    [[nodiscard]] layer_hooks quantized_hooks(input_scales const& scales) const {
        layer_hooks hooks;
        if (transform_.kind() == transform_kind::identity && !recipe_.quantizes_inputs()) {
            return hooks;
        }
        hooks.on_input = [this, scales](linear_role role, matrix_view<float> x) {
            transform_.apply_to_inputs(x);
            quantize_input(x, scales[role_index(role)]);
        };
        return hooks;
    }

    /// One scale for each shared input, from all windows seen: the smallest G, the widest range.
    [[nodiscard]] input_scales find_input_scales() const {
        input_scales scales;
        scales.fill(1.0F);
        for (linear_role role : linear_roles) {
            scales[role_index(role)] =
                input_scale(statistics_[role_index(shared_input(role))].amax);
        }
        return scales;
    }

    /// Solves the linears of one fused group on a common global scale and factor, and replaces
    /// their weights in `layer` by the decoded ones, rounded to bf16.
    void solve_group(std::size_t layer_index, linear_role first, decoder_layer& layer,
                     input_scales const& scales, std::vector<quantized_linear>& out,
                     std::vector<linear_report>& reports) {
        float amax = 0.0F;
        for (linear_role role : fused_group(first)) {
            amax = std::max(amax, largest_magnitude(weight_view(layer, role)));
        }
        solve_options options = solver_options(amax);
        std::optional<hessian> finished;
        if (auto const moment = std::move(statistics_[role_index(first)].moment)) {
            finished.emplace(std::move(*moment).finish());
        }
        hessian const* const h = finished ? &*finished : nullptr;
        std::string const group_name = linear_name(layer_index, first);
        std::optional<gptq_factor> shared;
        if (recipe_.gptq) {
            shared.emplace(factor(*h, options, group_name));
        }
        for (linear_role role : fused_group(first)) {
            matrix_view<float> const w = weight_view(layer, role);
            std::string const name = linear_name(layer_index, role);
            solve_result result =
                shared ? fpq::gptq(w, *h, *shared, weight_format(recipe_), options, name)
                       : rtn(w, h, weight_format(recipe_), options, name);
            linear_report report;
            report.module = name;
            report.rows = w.rows;
            report.cols = w.cols;
            report.relative_error = h == nullptr
                                        ? std::optional<double>()
                                        : std::optional<double>(result.report.relative_error);
            report.damping_retries = result.report.damping_retries;
            report.damping = result.report.damping;
            report.dead_columns = result.report.dead_columns;
            report.global_scale = result.weight.global_scale;
            report.input_global_scale = scales[role_index(role)];
            std::vector<float> const decoded = dequantize(result.weight.view());
            report.sqnr_db = measure_error(w, as_view(decoded.data(), w.rows, w.cols)).sqnr_db();
            reports.push_back(std::move(report));
            for (std::size_t i = 0; i < decoded.size(); ++i) {
                w.data[i] = round_to_bf16(decoded[i]);
            }
            out.push_back({name, role, std::move(result.weight), scales[role_index(role)]});
        }
    }

    /// How the scales of weights with maximum `amax` are found when no inputs were seen.
    [[nodiscard]] observer_options weight_observer(float amax) const {
        return solver_options(amax).observer;
    }

    /// Forgets what was seen of a layer.
    void forget() { statistics_ = {}; }

private:
    static matrix_view<float> weight_view(decoder_layer& layer, linear_role role) {
        linear_layer& linear = layer.linears[role_index(role)];
        return as_view(linear.weight.data(), linear.out, linear.in);
    }

    [[nodiscard]] float input_scale(float amax) const {
        return recipe_.quantizes_inputs()
                   ? default_global_scale(input_format(recipe_), amax, recipe_.pow2_global_scale,
                                          recipe_mx_rule(recipe_))
                   : 1.0F;
    }

    void quantize_input(matrix_view<float> x, float global_scale) const {
        if (!recipe_.quantizes_inputs()) {
            return;
        }
        observer_options options;
        options.rule = recipe_.a_observer;
        options.mx = recipe_mx_rule(recipe_);
        options.global_scale = global_scale;
        fake_quantize_rows(x, input_format(recipe_), options, recipe_.threads);
    }

    [[nodiscard]] solve_options solver_options(float amax) const {
        solve_options options;
        options.observer.rule = recipe_.w_observer;
        options.observer.mx = recipe_mx_rule(recipe_);
        options.observer.global_scale = default_global_scale(
            weight_format(recipe_), amax, recipe_.pow2_global_scale, recipe_mx_rule(recipe_));
        options.rel_damp = recipe_.rel_damp;
        options.order = recipe_.order;
        options.polish = recipe_.polish;
        options.threads = recipe_.threads;
        return options;
    }

    recipe const& recipe_;
    block_transform const& transform_;
    std::array<input_statistics, linear_roles.size()> statistics_;
};

}  // namespace fpq
