// SPDX-License-Identifier: Apache-2.0
// Floor 6. The search for the exponent of a smoothing rule on the CPU: by the error that the
// linears of one input have on a sample of tokens when weights and inputs are both quantized as
// their scheme says.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/backend/cpu/quant.hpp"
#include "fpq/backend/scale_args.hpp"
#include "fpq/core/half.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/format/quant_args.hpp"
#include "fpq/linalg/matmul.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/solve/smooth.hpp"
#include "fpq/transform/transform.hpp"

namespace fpq {

/// Linears that read one input, and what is known of it.
struct smooth_problem {
    std::vector<cpu::const_view> weights;  ///< (out, width) each, before any transform
    cpu::const_view sample;                ///< (tokens, width) of the input
    std::span<float const> input_amax;     ///< (width), of all tokens
    std::vector<std::size_t> channel_of;   ///< (width): the scale of a column
    std::size_t channels = 0;              ///< scales
    quant_args weight;
    std::optional<quant_args> input;
    block_transform const* transform = nullptr;  ///< between scales and quantizers; null: none
};

/// What was found. Errors are sums over the linears of |y' - y|^2 / |y|^2 on the sample.
struct smooth_choice {
    std::vector<float> scales;    ///< one a channel, all 1 where none are best
    std::optional<double> alpha;  ///< empty: none are best
    double error = 0.0;           ///< with these scales
    double plain_error = 0.0;     ///< with none
};

namespace detail {

/// The sizes of the channels of a problem; input means are those of the sample.
inline channel_sizes sizes_of(smooth_problem const& p) {
    std::size_t const width = p.channel_of.size();
    std::vector<double> sums(p.channels, 0.0);
    std::vector<double> counts(p.channels, 0.0);
    channel_sizes out;
    out.input_amax.assign(p.channels, 0.0F);
    out.input_mean.assign(p.channels, 0.0F);
    out.weight_amax.assign(p.channels, 0.0F);
    for (std::size_t t = 0; t < p.sample.rows; ++t) {
        for (std::size_t j = 0; j < width; ++j) {
            sums[p.channel_of[j]] += static_cast<double>(std::fabs(p.sample(t, j)));
        }
    }
    for (std::size_t j = 0; j < width; ++j) {
        std::size_t const c = p.channel_of[j];
        counts[c] += static_cast<double>(p.sample.rows);
        out.input_amax[c] = std::max(out.input_amax[c], p.input_amax[j]);
    }
    for (cpu::const_view const w : p.weights) {
        for (std::size_t i = 0; i < w.rows; ++i) {
            for (std::size_t j = 0; j < width; ++j) {
                float& most = out.weight_amax[p.channel_of[j]];
                most = std::max(most, std::fabs(w(i, j)));
            }
        }
    }
    for (std::size_t c = 0; c < p.channels; ++c) {
        out.input_mean[c] = counts[c] > 0.0 ? static_cast<float>(sums[c] / counts[c]) : 0.0F;
    }
    return out;
}

/// Sum of squares of y, or of y - z where z has values; rows in their order.
inline double squares_of(cpu const& b, cpu::const_view y, cpu::const_view z) {
    std::vector<double> rows(y.rows, 0.0);
    parallel_for(y.rows, 16, b.threads, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
            for (std::size_t j = 0; j < y.cols; ++j) {
                double const d = static_cast<double>(y(i, j)) -
                                 (z.rows > 0 ? static_cast<double>(z(i, j)) : 0.0);
                rows[i] += d * d;
            }
        }
    });
    double sum = 0.0;
    for (double const row : rows) {
        sum += row;
    }
    return sum;
}

/// out = x times factors by column.
inline void scale_columns(cpu const& b, cpu::const_view x, std::vector<float> const& factors,
                          cpu::view out) {
    parallel_for(x.rows, 16, b.threads, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
            for (std::size_t j = 0; j < x.cols; ++j) {
                out(i, j) = x(i, j) * factors[j];
            }
        }
    });
}

/// A search at work: the outputs that are to be met, and memory for candidates.
class smooth_trial {
public:
    smooth_trial(cpu const& b, smooth_problem const& problem)
        : backend_(b), p_(problem), x_(problem.sample.rows, problem.channel_of.size()) {
        std::size_t widest = 0;
        for (cpu::const_view const w : p_.weights) {
            widest = std::max(widest, w.rows);
            exact_.emplace_back(p_.sample.rows, w.rows);
            matmul_nt(p_.sample, w, exact_.back().view(), b.threads);
            energy_.push_back(squares_of(b, std::as_const(exact_.back()).view(), {}));
        }
        y_ = cpu::tensor(p_.sample.rows, widest);
    }

    /// The error under scales, one a channel.
    double error(std::vector<float> const& scales) {
        std::size_t const width = p_.channel_of.size();
        std::vector<float> up(width);
        std::vector<float> down(width);
        for (std::size_t j = 0; j < width; ++j) {
            up[j] = scales[p_.channel_of[j]];
            down[j] = 1.0F / up[j];
        }
        quantize_inputs(down);
        float most = 0.0F;
        std::vector<cpu::tensor> scaled;
        for (cpu::const_view const w : p_.weights) {
            scaled.emplace_back(w.rows, w.cols);
            scale_columns(backend_, w, up, scaled.back().view());
            if (p_.transform != nullptr) {
                transform_weights(backend_, *p_.transform, scaled.back());
            }
            most = std::max(most, amax(backend_, std::as_const(scaled.back()).view()));
        }
        observer_options observer = observer_of(p_.weight, global_scale_of(p_.weight, most));
        if (observer.rule == scale_rule::sweep) {
            observer.column_weight = squares_;  // as the solvers' sweep
        }
        double sum = 0.0;
        for (std::size_t l = 0; l < scaled.size(); ++l) {
            cpu::view const w = scaled[l].view();
            packed_matrix const q = quantize(std::as_const(scaled[l]).view(), p_.weight.format,
                                             observer, backend_.threads);
            dequantize_into(q.view(), w, backend_.threads);
            for (std::size_t i = 0; i < w.size(); ++i) {
                w.data[i] = round_to_bf16(w.data[i]);
            }
            cpu::view const y = y_.view().cols_at(0, w.rows);
            matmul_nt(std::as_const(x_).view(), std::as_const(scaled[l]).view(), y,
                      backend_.threads);
            double const miss = squares_of(backend_, y, std::as_const(exact_[l]).view());
            sum += energy_[l] > 0.0 ? miss / energy_[l] : miss;
        }
        return sum;
    }

private:
    /// x_ = the sample, scaled and transformed, then as a client rounds it under the global scale
    /// of all tokens.
    void quantize_inputs(std::vector<float> const& down) {
        scale_columns(backend_, p_.sample, down, x_.view());
        if (p_.transform != nullptr) {
            transform_inputs(backend_, *p_.transform, x_.view());
        }
        squares_.assign(x_.cols(), 0.0F);
        for (std::size_t i = 0; i < x_.rows(); ++i) {
            for (std::size_t j = 0; j < x_.cols(); ++j) {
                float const x = x_.view()(i, j);
                squares_[j] += x * x;
            }
        }
        if (!p_.input) {
            return;
        }
        float most = amax(backend_, std::as_const(x_).view());
        for (std::size_t j = 0; j < down.size() && p_.transform == nullptr; ++j) {
            most = std::max(most, p_.input_amax[j] * down[j]);
        }
        fake_quantize(backend_, *p_.input, global_scale_of(*p_.input, most), x_.view());
    }

    cpu backend_;
    smooth_problem const& p_;
    cpu::tensor x_;
    cpu::tensor y_;
    std::vector<cpu::tensor> exact_;
    std::vector<double> energy_;
    std::vector<float> squares_;  // of the scaled inputs, by column
};

}  // namespace detail

/// The scales of a rule with the least error, or those of its exponent where args have one. No
/// scales at all are a candidate of a search, so that it never ends with more error than they have.
/// The same at any number of threads. Cost: a product of the sample with every weight, and their
/// quantization, for each of smooth_exponents + 2 candidates.
[[nodiscard]] inline smooth_choice search_smoothing(cpu const& b, smooth_args const& args,
                                                    smooth_problem const& problem) {
    channel_sizes const sizes = detail::sizes_of(problem);
    detail::smooth_trial trial(b, problem);
    smooth_choice best;
    best.scales.assign(problem.channels, 1.0F);
    best.plain_error = best.error = trial.error(best.scales);
    if (args.alpha) {
        best.scales = smooth_scales(args.rule, sizes, *args.alpha);
        best.alpha = args.alpha;
        best.error = trial.error(best.scales);
        return best;
    }
    for (std::size_t i = 0; i <= smooth_exponents; ++i) {
        double const alpha = static_cast<double>(i) / static_cast<double>(smooth_exponents);
        std::vector<float> scales = smooth_scales(args.rule, sizes, alpha);
        double const error = trial.error(scales);
        if (error < best.error) {
            best.scales = std::move(scales);
            best.alpha = alpha;
            best.error = error;
        }
    }
    return best;
}

}  // namespace fpq
