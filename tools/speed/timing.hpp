// SPDX-License-Identifier: Apache-2.0
// Times an engine as a program calls it: steps that give every sequence a token, and prompts to
// their first answer. By the host's clock, everything included.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/random.hpp"
#include "fpq/model/engine.hpp"
#include "speed/table.hpp"

namespace fpq::tools {

inline constexpr std::size_t warm_steps = 8;  // a device records a step at its second use
inline constexpr std::size_t timed_steps = 48;

/// Tokens that a sequence gets at most behind its prompt while decode() goes through `batches`: the
/// first ones generate while those that join them read their prompts.
[[nodiscard]] inline std::size_t decode_room(std::span<std::size_t const> batches,
                                             std::size_t context, std::size_t batch_tokens) {
    std::size_t room = 1;
    std::size_t running = 0;
    for (std::size_t const batch : batches) {
        std::size_t const rows = batch_tokens - batch;  // left for prompts, at least
        room += ((batch - running) * context + rows - 1) / rows + warm_steps + timed_steps;
        running = batch;
    }
    return room;
}

/// The median of some times, the least and the most.
inline void set_times(speed_row& row, std::vector<double> took) {
    std::sort(took.begin(), took.end());
    row.milliseconds = took[took.size() / 2];
    row.least = took.front();
    row.most = took.back();
    row.samples = took.size();
}

template <class B>
class speed_timer {
public:
    /// An idle engine of `batch_tokens` and of a vocabulary of so many tokens, which outlives this.
    speed_timer(engine<B>& engine, std::size_t batch_tokens, std::size_t vocabulary)
        : engine_(&engine), batch_tokens_(batch_tokens), vocabulary_(vocabulary) {}

    /// A row for each of `batches`, which grow and are below batch_tokens: sequences of `context`
    /// tokens join those that are there already, so every prompt is read once. Their lengths then
    /// differ a little; mean_context tells. The engine must have room for all of the last batch,
    /// decode_room() behind each prompt.
    [[nodiscard]] std::vector<speed_row> decode(std::span<std::size_t const> batches,
                                                std::size_t context) {
        std::vector<speed_row> rows;
        std::size_t const room = decode_room(batches, context, batch_tokens_);
        std::vector<std::size_t> generated;
        generated.reserve(batches.back());  // sinks point into it
        std::vector<std::uint64_t> ids;
        for (std::size_t const batch : batches) {
            while (ids.size() < batch) {
                generation_request request;
                request.prompt = prompt(context, ids.size());
                request.max_tokens = room;
                std::size_t& count = generated.emplace_back(0);
                ids.push_back(
                    engine_->submit(std::move(request), [&count](generation_update const& update) {
                        count += update.tokens.size();
                        return true;
                    }));
            }
            while (std::find(generated.begin(), generated.end(), 0) != generated.end()) {
                if (!engine_->step()) {
                    fail_input("timing steps", "engine", "a token of each sequence", "none of one");
                }
            }
            rows.push_back(timed_decode(batch, context, generated));
        }
        for (std::uint64_t const id : ids) {
            engine_->cancel(id);
        }
        finish();
        return rows;
    }

    /// Prompts of `length` tokens, one at a time.
    [[nodiscard]] speed_row prefill(std::size_t length) {
        std::size_t const repetitions = length > 8192 ? 3 : 6;
        std::vector<double> took;
        for (std::size_t i = 0; i <= repetitions; ++i) {
            generation_request request;
            request.prompt = prompt(length, 1000 + i);
            request.max_tokens = 1;
            engine_->submit(std::move(request), [](generation_update const&) { return true; });
            auto const start = clock::now();
            finish();
            if (i > 0) {  // the first makes workspaces
                took.push_back(milliseconds_since(start));
            }
        }
        speed_row row;
        row.work = prefill_work;
        row.context = length;
        set_times(row, std::move(took));
        return row;
    }

private:
    using clock = std::chrono::steady_clock;

    static double milliseconds_since(clock::time_point start) {
        return std::chrono::duration<double, std::milli>(clock::now() - start).count();
    }
    [[nodiscard]] std::vector<std::int32_t> prompt(std::size_t length, std::uint64_t stream) const {
        philox const source{3, stream};
        std::vector<std::int32_t> out(length);
        for (std::size_t i = 0; i < length; ++i) {
            out[i] =
                static_cast<std::int32_t>(source.below(i, static_cast<std::uint32_t>(vocabulary_)));
        }
        return out;
    }
    void finish() {
        while (engine_->step()) {
        }
    }

    speed_row timed_decode(std::size_t batch, std::size_t context,
                           std::vector<std::size_t> const& generated) {
        auto const total = [&] {
            std::size_t sum = 0;
            for (std::size_t const count : generated) {
                sum += count;
            }
            return sum;
        };
        for (std::size_t i = 0; i < warm_steps; ++i) {
            engine_->step();
        }
        std::size_t const before = total();
        std::vector<double> took;
        for (std::size_t i = 0; i < timed_steps; ++i) {
            auto const start = clock::now();
            engine_->step();
            took.push_back(milliseconds_since(start));
        }
        std::size_t const after = total();
        if (after - before != batch * timed_steps) {
            fail_input("timing steps", "engine", std::to_string(batch) + " tokens of each",
                       std::to_string(after - before) + " of " + std::to_string(timed_steps));
        }
        speed_row row;
        row.work = decode_work;
        row.batch = batch;
        row.context = context;
        row.mean_context = static_cast<double>(context) +
                           static_cast<double>(before + after) / (2.0 * static_cast<double>(batch));
        set_times(row, std::move(took));
        return row;
    }

    engine<B>* engine_;
    std::size_t batch_tokens_;
    std::size_t vocabulary_;
};

}  // namespace fpq::tools
