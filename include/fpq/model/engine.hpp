// SPDX-License-Identifier: Apache-2.0
// An inference engine: requests of any lengths, together through the model in steps of a few
// hundred rows, keys and values in pages.
//
// Floor 7. A request's numbers do not depend on what runs beside it: on the CPU to the last bit,
// however its prompt was cut and its pages lie; on a device as far as its products keep rows apart.
// Which rows a step takes is batch.hpp, what a step does is here, how is the backend's. Text and
// servers are the callers'.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/backend/backend.hpp"
#include "fpq/backend/ragged.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/model/batch.hpp"
#include "fpq/model/forward.hpp"
#include "fpq/model/generation.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/model/resident_model.hpp"

namespace fpq {

struct engine_options {
    /// Of all sequences together; 0: what memory holds (CPU: 1 GiB, GPU: what is free).
    std::size_t cache_tokens = 0;
    std::size_t page = 16;           ///< tokens of a page
    std::size_t batch_tokens = 512;  ///< rows of a step at most: prompts are cut into chunks
    std::size_t sequences = 64;      ///< that run side by side
    /// Steps of next tokens are recorded and played again where the backend can: the same bits.
    bool record = true;
};

template <class B>
class engine {
public:
    /// Loads all layers of `model`, which must outlive it. Throws fpq::error: usage for options
    /// that are 0, input for what cannot be read, device where there is no room.
    engine(B const& b, opened_model<B> const& model, engine_options const& options)
        : engine(b, load_resident(b, model), options) {}
    /// The same with layers that are loaded.
    engine(B const& b, resident_model<B> model, engine_options const& options);

    /// Tokens of a prompt and its answer together: what the cache holds and the model was made for.
    [[nodiscard]] std::size_t longest() const noexcept { return longest_; }

    /// Takes a request; its sink is called within step(), never from here. Throws fpq::error
    /// (usage) for what can never run: an empty prompt, a token outside the vocabulary, more tokens
    /// than longest(), a choice out of range, no sink.
    std::uint64_t submit(generation_request request, generation_sink sink);

    /// The sink gets its last update, `cancelled`, in the next step(). Of an id that is not there:
    /// nothing.
    void cancel(std::uint64_t id) noexcept { batch_.cancel(id); }

    /// One batch through the model, sinks called; false when nothing is waiting or running. When it
    /// throws (a device failed), no request has moved: the same step can be tried again.
    bool step();

    [[nodiscard]] std::size_t waiting() const noexcept { return batch_.waiting(); }
    [[nodiscard]] std::size_t running() const noexcept { return batch_.running(); }

    /// What a user should know of how the model was loaded.
    [[nodiscard]] std::vector<std::string> const& notes() const noexcept { return model_.notes; }

private:
    struct sizes {
        std::size_t pages;
        std::size_t longest;
        std::size_t rows;
        std::size_t sequences;
    };

    engine(B const& b, resident_model<B>&& model, engine_options const& options, sizes const& fit);

    [[nodiscard]] static sizes fit(B const& b, model_config const& config,
                                   engine_options const& options);
    void require_token(std::int32_t token, char const* what) const;
    void run_layers();
    void run_head(std::size_t first, std::size_t count);

    B backend_;
    resident_model<B> model_;
    std::size_t longest_;
    batch batch_;
    std::shared_ptr<typename B::rope const> rope_;
    std::vector<typename B::page_store> caches_;  // by layer
    typename B::step_tables tables_;
    typename B::tensor hidden_;  // (rows of the largest step, hidden)
    typename B::tensor logits_;  // (rows of a slice, vocabulary)
    bool repeatable_;            // no hook: a step is verbs alone, which may be recorded
    ragged_rows step_;
    std::vector<row_query> queries_;
    std::vector<row_answer> answers_;
};

template <class B>
engine<B>::engine(B const& b, resident_model<B> model, engine_options const& options)
    : engine(with_rows_alone(b), std::move(model), options, fit(b, model.frame.config(), options)) {
}

template <class B>
engine<B>::engine(B const& b, resident_model<B>&& model, engine_options const& options,
                  sizes const& fit)
    : backend_(b),
      model_(std::move(model)),
      longest_(fit.longest),
      batch_({fit.rows, fit.sequences, options.page, fit.pages}),
      rope_(model_.frame.rope(b, fit.longest)),
      tables_(
          make_step_tables(b, {padded_rows(b, fit.rows), fit.sequences, fit.pages, options.page})),
      hidden_(make(b, padded_rows(b, fit.rows), model_.frame.config().hidden_size)),
      logits_(make_logits(b, padded_rows(b, std::min(logit_slice(b), fit.rows)),
                          model_.frame.config().vocab_size)),
      repeatable_(options.record &&
                  std::none_of(model_.hooks.begin(), model_.hooks.end(),
                               [](auto const& h) { return h.on_input != nullptr; }) &&
                  !model_.head_hooks.on_input) {
    for (std::size_t i = 0; i < model_.layers.size(); ++i) {
        caches_.push_back(make_pages(b, fit.pages * options.page, model_.frame.config().kv_size()));
    }
}

template <class B>
typename engine<B>::sizes engine<B>::fit(B const& b, model_config const& config,
                                         engine_options const& options) {
    if (options.page == 0 || options.batch_tokens == 0 || options.sequences == 0) {
        fail_usage("engine options", config.where, "page, batch_tokens and sequences of at least 1",
                   std::to_string(options.page) + ", " + std::to_string(options.batch_tokens) +
                       " and " + std::to_string(options.sequences));
    }
    config.require_sequence(1);
    sizes out{};
    out.rows = options.batch_tokens;
    out.sequences = std::min(options.sequences, options.batch_tokens);
    std::size_t const made_for = config.max_position != 0
                                     ? config.max_position
                                     : std::numeric_limits<std::size_t>::max() / 2 / out.sequences;
    std::size_t const most = std::min(made_for, config.max_sequence_without_window());
    std::size_t const page_bytes =
        2 * config.layers * options.page * config.kv_size() * sizeof(typename B::page_store::value);
    auto const pages_of = [&](std::size_t tokens) {
        return (tokens + options.page - 1) / options.page;
    };
    // More than all sequences at their longest is never used.
    out.pages = options.cache_tokens != 0 ? pages_of(options.cache_tokens)
                                          : cache_room(b, 0, page_bytes) / page_bytes;
    out.pages = std::min(out.pages, out.sequences * pages_of(most));
    out.longest = std::min(most, out.pages * options.page);
    return out;
}

template <class B>
void engine<B>::require_token(std::int32_t token, char const* what) const {
    std::size_t const vocabulary = model_.frame.config().vocab_size;
    if (token < 0 || static_cast<std::size_t>(token) >= vocabulary) {
        fail_usage("token outside the model's vocabulary", what,
                   "0 to " + std::to_string(vocabulary - 1), std::to_string(token));
    }
}

template <class B>
std::uint64_t engine<B>::submit(generation_request request, generation_sink sink) {
    if (request.prompt.empty()) {
        fail_usage("empty prompt", "generation request", "at least one token", "none");
    }
    for (std::int32_t const token : request.prompt) {
        require_token(token, "prompt");
    }
    if (request.prompt.size() > longest_ || request.max_tokens > longest_ - request.prompt.size()) {
        fail_usage("request is too long", "generation request",
                   "at most " + std::to_string(longest_) + " tokens of prompt and answer",
                   std::to_string(request.prompt.size()) + " and up to " +
                       std::to_string(request.max_tokens));
    }
    token_choice const& how = request.choice;
    if (!std::isfinite(how.temperature) || how.temperature < 0.0F) {
        fail_usage("temperature", "generation request", "a number of at least 0",
                   std::to_string(how.temperature));
    }
    if (!(how.top_p > 0.0F && how.top_p <= 1.0F)) {
        fail_usage("top_p", "generation request", "more than 0, at most 1",
                   std::to_string(how.top_p));
    }
    if (!sink) {
        fail_usage("generation request", "sink", "a function", "none");
    }
    return batch_.submit(std::move(request), std::move(sink));
}

template <class B>
bool engine<B>::step() {
    bool const any = batch_.waiting() + batch_.running() != 0;
    batch_.plan(step_, queries_);
    if (step_.tokens.empty()) {
        return any;
    }
    set_step(backend_, step_, queries_, model_.frame.heads(), tables_);
    std::size_t const slice = logits_.rows();
    auto const slice_at = [&](std::size_t first) {
        return std::min(slice, queries_.size() - first);
    };
    answers_.assign(queries_.size(), {});
    run_step(backend_, tables_, repeatable_, [&] {
        run_layers();
        run_head(0, slice_at(0));
    });
    for (std::size_t first = 0; first < queries_.size(); first += slice) {
        std::size_t const count = slice_at(first);
        if (first != 0) {
            run_head(first, count);
        }
        answer_rows(backend_, logits_.view(), tables_, first,
                    std::span<row_query const>(queries_).subspan(first, count),
                    std::span(answers_).subspan(first, count));
    }
    batch_.settle(answers_);
    return true;
}

template <class B>
void engine<B>::run_layers() {
    decoder<B> const& frame = model_.frame;
    typename B::view const hidden =
        hidden_.view().rows_at(0, padded_rows(backend_, step_.tokens.size()));
    embed_step(backend_, frame.embedding_table(), tables_, hidden);
    typename decoder<B>::late_sum late;
    for (std::size_t i = 0; i < model_.layers.size(); ++i) {
        decoder_layer<B> const& layer = model_.layers[i];
        auto const attend = [&](auto q, auto k, auto v, auto out) {
            rotate_and_store_step(backend_, q, k, v, frame.config().head_dim,
                                  layer.norm(norm_place::query_head),
                                  layer.norm(norm_place::key_head), frame.config().rms_norm_eps,
                                  *rope_, tables_, caches_[i]);
            attend_step(backend_, q, frame.heads(), tables_, caches_[i], out);
        };
        frame.forward_layer_with(backend_, layer, hidden, model_.hooks[i], late, attend);
    }
    frame.settle(backend_, hidden, late);
}

/// The logits of `count` wanted rows from the first-th on.
template <class B>
void engine<B>::run_head(std::size_t first, std::size_t count) {
    if (count == 0) {
        return;
    }
    auto rows = make(backend_, padded_rows(backend_, count), hidden_.cols());
    gather_wanted(backend_, hidden_.view(), tables_, first, rows.view());
    typename B::view const out = logits_.view().rows_at(0, rows.rows());
    model_.frame.head_logits(backend_, rows.view(), model_.head_hooks, out);
    measure_wanted(backend_, out, tables_, first);
}

}  // namespace fpq
