// SPDX-License-Identifier: Apache-2.0
// Floor 8. The evaluation of opened checkpoints. That of a model while it is being quantized is
// streams.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "fpq/io/text/token_windows.hpp"
#include "fpq/model/evaluate.hpp"
#include "fpq/model/layer.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/progress.hpp"
#include "fpq/pipeline/streams.hpp"

namespace fpq {

namespace detail {

inline std::vector<std::span<std::int32_t const>> spans_of(token_windows const& windows) {
    return {windows.begin(), windows.end()};
}

template <class B>
eval_model<B> eval_face(opened_model<B> const& model) {
    return {&model.network(),
            [&model](std::size_t layer, layer_hooks<B>& hooks) { return model.load(layer, hooks); },
            model.head_hooks()};
}

}  // namespace detail

/// Perplexity of `model`, and its distance to `reference` (may be null).
template <class B>
eval_result evaluate_models(B const& b, opened_model<B> const& model,
                            opened_model<B> const* reference, evaluation_set const& set,
                            progress_sink const& progress) {
    eval_model<B> const subject = detail::eval_face(model);
    eval_model<B> const other =
        reference != nullptr ? detail::eval_face(*reference) : eval_model<B>{};
    eval_options options;
    options.texts = set.texts;
    options.progress = [&progress](std::size_t done, std::size_t total) {
        progress({"evaluate", done, total, ""});
    };
    return evaluate<B>(b, subject, reference != nullptr ? &other : nullptr,
                       detail::spans_of(set.windows), options);
}

}  // namespace fpq
