// SPDX-License-Identifier: Apache-2.0
#include "speed/gpu/measure.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "fpq/backend/cuda/generate.hpp"
#include "speed/gpu/card.hpp"
#include "speed/gpu/random_model.hpp"
#include "speed/timing.hpp"

namespace fpq::tools {

namespace {

constexpr std::size_t batch_tokens = 2048;

std::size_t pages_of(std::size_t tokens, std::size_t page) { return (tokens + page - 1) / page; }

void leave_out(speed_table& table, speed_sink const& say, std::string const& line) {
    table.left_out.push_back(line);
    say(table, "left out: " + line);
}

void add_row(speed_table& table, speed_sink const& say, speed_subject const& subject, speed_row row,
             double token_bytes) {
    row.shape = subject.shape;
    row.weights = subject.weights;
    if (row.work == decode_work) {
        row.step_bytes =
            subject.weight_bytes + static_cast<double>(row.batch) * row.mean_context * token_bytes;
    }
    table.rows.push_back(row);
    say(table, line_of(row, table.copy_rate));
}

}  // namespace

void time_model(gpu const& b, resident_model<gpu> model, speed_subject const& subject,
                speed_plan const& plan, speed_table& table, speed_sink const& say) {
    model_config const config = model.frame.config();
    std::string const name = subject.shape + ' ' + subject.weights;
    engine_options options;
    options.batch_tokens = batch_tokens;
    options.sequences = plan.batches.back();
    auto const pages = [&](std::size_t batch, std::size_t tokens) {
        return batch * pages_of(tokens, options.page);
    };
    std::size_t wanted = 1;
    for (std::size_t const context : plan.contexts) {
        std::size_t const room = decode_room(plan.batches, context, batch_tokens);
        wanted = std::max(wanted, pages(plan.batches.back(), context + room));
    }
    for (std::size_t const length : plan.prompts) {
        wanted = std::max(wanted, pages(1, length + 1));
    }
    double const page_bytes = cache_bytes(config) * static_cast<double>(options.page);
    wait(b);  // what made the weights has given its memory back
    std::size_t const room = cache_room(b, 0, static_cast<std::size_t>(page_bytes));
    std::size_t const have =
        std::min(wanted, static_cast<std::size_t>(static_cast<double>(room) / page_bytes));
    options.cache_tokens = have * options.page;
    engine<gpu> engine(b, std::move(model), options);
    for (std::string const& note : engine.notes()) {
        say(table, "note: " + note);
    }
    speed_timer<gpu> timer(engine, batch_tokens, config.vocab_size);
    for (std::size_t const context : plan.contexts) {
        std::vector<std::size_t> batches = plan.batches;
        auto const fits = [&] {
            std::size_t const tokens = context + decode_room(batches, context, batch_tokens);
            return tokens <= engine.longest() && pages(batches.back(), tokens) <= have;
        };
        while (!batches.empty() && !fits()) {
            leave_out(table, say,
                      fmt::format("{}, decode, batch {}, context {}: no room for its cache", name,
                                  batches.back(), context));
            batches.pop_back();
        }
        if (batches.empty()) {
            continue;
        }
        for (speed_row& row : timer.decode(batches, context)) {
            add_row(table, say, subject, std::move(row), cache_bytes(config));
        }
    }
    for (std::size_t const length : plan.prompts) {
        if (length + 1 > engine.longest()) {
            leave_out(table, say,
                      fmt::format("{}, prefill of {}: no room for its cache", name, length));
            continue;
        }
        add_row(table, say, subject, timer.prefill(length), 0);
    }
}

speed_table time_shapes(std::span<model_shape const> shapes, speed_plan const& plan,
                        speed_sink const& say) {
    speed_table table = table_of_card();
    say(table, line_of(table));
    constexpr std::array<std::pair<char const*, quant_format const*>, 3> formats{
        {{"bf16", nullptr}, {"nvfp4", &nvfp4}, {"mxfp4", &mxfp4}}};
    for (model_shape const& shape : shapes) {
        auto const graph = std::make_shared<model_graph const>(config_of(shape));
        for (auto const& [weights, format] : formats) {
            gpu const b{4, std::make_shared<gpu_context>(0)};
            double const bytes = weight_bytes(*graph, format);
            if (bytes * 1.1 > static_cast<double>(b.context->free_memory())) {
                leave_out(table, say,
                          fmt::format("{} {}: no room for {:.1f} GB of weights", shape.name,
                                      weights, bytes * 1e-9));
                continue;
            }
            time_model(b, random_model(b, graph, format), {shape.name, weights, bytes}, plan, table,
                       say);
            trim(b);
        }
    }
    return table;
}

}  // namespace fpq::tools
