// SPDX-License-Identifier: Apache-2.0
// Floor 8. Scales of one layer's inputs: a first forward over the calibration windows samples what
// its linears read, the scales of each input are searched and folded, and everything after works on
// a layer like any other. Holds the samples of one layer at a time.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/backend/cpu/smooth.hpp"
#include "fpq/core/half.hpp"
#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/hosted/ranks.hpp"
#include "fpq/core/view.hpp"
#include "fpq/graph/fold.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/graph/scheme.hpp"
#include "fpq/io/safetensors/dtype.hpp"
#include "fpq/io/safetensors/shard_plan.hpp"
#include "fpq/model/fold.hpp"
#include "fpq/model/layer.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/pipeline/smoothed_taps.hpp"
#include "fpq/pipeline/streams.hpp"
#include "fpq/solve/smooth.hpp"
#include "fpq/transform/transform.hpp"

namespace fpq {

namespace detail {

/// The bytes of a tensor of BF16, F16 or F32 that holds these values exactly.
inline std::vector<std::byte> stored_bytes(dtype type, std::span<float const> values) {
    std::size_t const width = dtype_bits(type) / 8;
    std::vector<std::byte> out(values.size() * width);
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (type == dtype::f32) {
            std::memcpy(out.data() + i * width, &values[i], width);
        } else {
            std::uint16_t const bits =
                type == dtype::f16 ? to_fp16(values[i]).bits : to_bf16(values[i]).bits;
            std::memcpy(out.data() + i * width, &bits, width);
        }
    }
    return out;
}

/// The sum of every element over the ranks, of which one has other than 0.
inline void share_rows(rank_group& ranks, std::span<float> values) {
    std::vector<float> other(values.size());
    for_each_peer(ranks, [&](std::size_t peer, bool) {
        ranks.exchange(peer, std::as_bytes(values), std::as_writable_bytes(std::span(other)));
        for (std::size_t i = 0; i < values.size(); ++i) {
            values[i] += other[i];
        }
    });
}

}  // namespace detail

/// What was found for one input.
struct smoothed_input {
    std::optional<double> alpha;  ///< empty: no scales are best
    double error_ratio = 1.0;     ///< the search's error over that without scales
};

/// A line on what smoothing came to; empty: no input had any.
inline std::string smoothing_note(std::vector<linear_report> const& lines) {
    std::size_t searched = 0;
    std::size_t scaled = 0;
    double ratio = 0.0;
    double least = 1.0;
    double most = 0.0;
    for (linear_report const& line : lines) {
        if (!line.smooth_error_ratio) {
            continue;
        }
        ++searched;
        ratio += *line.smooth_error_ratio;
        if (line.smooth_alpha) {
            ++scaled;
            least = std::min(least, *line.smooth_alpha);
            most = std::max(most, *line.smooth_alpha);
        }
    }
    if (searched == 0) {
        return {};
    }
    return fmt::format(
        "scales are folded into the inputs of {} of {} linears{}; the error of outputs on sampled "
        "tokens, rounded to nearest, is {:.3f} of that without them (mean)",
        scaled, searched,
        scaled > 0 ? fmt::format(", exponents {:.2f} to {:.2f}", least, most) : std::string(),
        ratio / static_cast<double>(searched));
}

template <class B>
class layer_smoothing {
public:
    /// All references outlive the object.
    layer_smoothing(B const& b, rank_group& ranks, run_plan const& plan, model_graph const& graph,
                    std::vector<std::optional<block_transform>> const& transforms)
        : backend_(b), ranks_(ranks), plan_(plan), graph_(graph), transforms_(transforms) {}

    /// Whether some input of the layer has scales.
    [[nodiscard]] bool acts(std::size_t layer) const {
        if (layer >= graph_.layers()) {
            return false;
        }
        return std::any_of(layer_taps.begin(), layer_taps.end(), [&](tap at) {
            return smoothed_target(plan_, graph_, layer, at).has_value();
        });
    }

    /// Hooks of the forward over some of `windows`: inputs are sampled as they are.
    [[nodiscard]] layer_hooks<B> sampling_hooks(std::size_t layer, window_range at,
                                                std::size_t windows);

    /// Searches and folds the scales of a layer whose inputs have been sampled. `type_of`: of a
    /// tensor of the checkpoint, which what is folded into it keeps.
    void smooth(std::size_t layer, decoder_layer<B>& weights,
                std::function<dtype(std::string const&)> const& type_of);

    /// The norms and biases that were changed, as they are written.
    [[nodiscard]] std::vector<tensor_data> take_folded() { return std::exchange(folded_, {}); }

    /// Tells the lines of the layer's linears what was found.
    void tell(std::span<linear_report> lines) const {
        for (linear_report& line : lines) {
            for (linear_node const& node : graph_.linears()) {
                auto const& found = found_[static_cast<std::size_t>(node.input)];
                if (node.module == line.module && found) {
                    line.smooth_alpha = found->alpha;
                    line.smooth_error_ratio = found->error_ratio;
                }
            }
        }
    }

private:
    struct tap_sample {
        std::vector<float> rows;  // (tokens, width)
        std::vector<float> amax;  // (width), of all tokens
    };

    void smooth_tap(std::size_t layer, tap at, fold_target const& target, decoder_layer<B>& weights,
                    dtype stored);
    void keep_folded(fold_target const& target, decoder_layer<B> const& weights,
                     std::string const& name, dtype type);

    B backend_;
    rank_group& ranks_;
    run_plan const& plan_;
    model_graph const& graph_;
    std::vector<std::optional<block_transform>> const& transforms_;
    std::size_t tokens_ = 0;  // of a sample
    std::array<tap_sample, tap_count> samples_;
    std::array<std::optional<smoothed_input>, tap_count> found_;
    std::vector<tensor_data> folded_;
};

template <class B>
layer_hooks<B> layer_smoothing<B>::sampling_hooks(std::size_t layer, window_range at,
                                                  std::size_t windows) {
    layer_hooks<B> hooks;
    if constexpr (!B::is_queued) {
        hooks.on_input = [this, layer, at, windows](tap input, typename B::view x) {
            if (!smoothed_target(plan_, graph_, layer, input)) {
                return;
            }
            std::size_t const a_window = x.rows / at.count;
            std::size_t const all = windows * a_window;
            tokens_ = std::min(smooth_tokens, all);
            tap_sample& seen = samples_[static_cast<std::size_t>(input)];
            seen.rows.resize(tokens_ * x.cols, 0.0F);
            seen.amax.resize(x.cols, 0.0F);
            std::size_t const first = at.first * a_window;
            for (std::size_t i = 0; i < tokens_; ++i) {
                std::size_t const token = (2 * i + 1) * all / (2 * tokens_);
                if (token >= first && token < first + x.rows) {
                    float const* const from = x.row(token - first);
                    for (std::size_t j = 0; j < x.cols; ++j) {
                        seen.rows[i * x.cols + j] = from[j] + 0.0F;  // no negative zero
                    }
                }
            }
            parallel_for(x.cols, 256, backend_.threads, [&](std::size_t begin, std::size_t end) {
                for (std::size_t t = 0; t < x.rows; ++t) {
                    float const* const row = x.row(t);
                    for (std::size_t j = begin; j < end; ++j) {
                        seen.amax[j] = std::max(seen.amax[j], std::fabs(row[j]));
                    }
                }
            });
        };
    }
    return hooks;
}

template <class B>
void layer_smoothing<B>::smooth(std::size_t layer, decoder_layer<B>& weights,
                                std::function<dtype(std::string const&)> const& type_of) {
    if constexpr (!B::is_queued) {
        found_ = {};
        folded_.clear();
        for (tap const at : layer_taps) {
            std::optional<fold_target> const target = smoothed_target(plan_, graph_, layer, at);
            if (!target) {
                continue;
            }
            tap_sample& seen = samples_[static_cast<std::size_t>(at)];
            detail::share_rows(ranks_, seen.rows);
            share_maxima(ranks_, seen.amax);
            std::string const name = folded_tensor(graph_, layer, *target);
            dtype const type = name.empty() ? dtype::f32 : type_of(name);
            smooth_tap(layer, at, *target, weights, type);
            if (!name.empty()) {
                keep_folded(*target, weights, name, type);
            }
            seen = {};
        }
    }
}

template <class B>
void layer_smoothing<B>::smooth_tap(std::size_t layer, tap at, fold_target const& target,
                                    decoder_layer<B>& weights, dtype stored) {
    if constexpr (!B::is_queued) {
        tap_sample const& seen = samples_[static_cast<std::size_t>(at)];
        scheme const& s = *plan_.input_scheme(graph_, layer, at);
        auto const& transform = transforms_[static_cast<std::size_t>(&s - plan_.schemes.data())];
        smooth_problem problem;
        for (linear_node const& node : graph_.layer(layer)) {
            if (node.input == at) {
                problem.weights.push_back(std::as_const(weights.linears[node.row].weight).view());
            }
        }
        std::size_t const width = seen.amax.size();
        problem.sample = as_view<float const>(seen.rows.data(), tokens_, width);
        problem.input_amax = seen.amax;
        for (std::size_t j = 0; j < width; ++j) {
            problem.channel_of.push_back(fold_channel(graph_.config(), at, j));
        }
        problem.channels = target.channels;
        problem.weight = *s.weight;
        problem.input = s.input;
        problem.transform = transform ? &*transform : nullptr;
        smooth_choice choice = search_smoothing(backend_, plan_.smoothing, problem);
        found_[static_cast<std::size_t>(at)] = smoothed_input{
            choice.alpha, choice.plain_error > 0.0 ? choice.error / choice.plain_error : 1.0};
        (void)fold_scales(backend_, graph_, weights, at, std::move(choice.scales), stored);
    }
}

template <class B>
void layer_smoothing<B>::keep_folded(fold_target const& target, decoder_layer<B> const& weights,
                                     std::string const& name, dtype type) {
    if constexpr (!B::is_queued) {
        std::vector<float> const& values =
            target.norm ? weights.norm(*target.norm) : weights.linears[target.row].bias;
        folded_.push_back({name, type, {values.size()}, detail::stored_bytes(type, values)});
    }
}

}  // namespace fpq
