// SPDX-License-Identifier: Apache-2.0
#include "speed/charts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/io/svg/chart.hpp"
#include "fpq/io/svg/draw_chart.hpp"

namespace fpq::tools {

namespace {

constexpr double width = 1200.0;  // room for a number on each bar

/// "nvfp4" as people write it.
std::string name_of_weights(std::string const& weights) {
    return weights == "nvfp4" ? "NVFP4" : weights == "mxfp4" ? "MXFP4" : weights;
}

/// "1k", "8k"; another length in full.
std::string short_length(std::size_t tokens) {
    return tokens % 1024 == 0 ? fmt::format("{}k", tokens / 1024) : fmt::format("{}", tokens);
}

/// How long what all shapes begin with is, up to a hyphen: "Qwen3-" of "Qwen3-8B", "Qwen3-14B".
std::size_t shared_prefix(std::vector<speed_row> const& rows) {
    std::string_view same = rows.empty() ? std::string_view() : rows.front().shape;
    for (speed_row const& row : rows) {
        auto const [a, b] =
            std::mismatch(same.begin(), same.end(), row.shape.begin(), row.shape.end());
        same = same.substr(0, static_cast<std::size_t>(a - same.begin()));
    }
    bool const one = !rows.empty() && same == rows.front().shape;
    return one ? 0 : same.rfind('-') + 1;  // npos + 1 is 0
}

/// A bar for each row that has a value: categories and series in the order of the rows.
class bar_chart {
public:
    bar_chart(std::string title, std::string x, std::string y) {
        out_.kind = chart_kind::bars;
        out_.title = std::move(title);
        out_.x.title = std::move(x);
        out_.y.title = std::move(y);
        out_.width = width;
    }

    void add(std::string const& category, std::string const& series, double value) {
        auto const at = std::find(out_.categories.begin(), out_.categories.end(), category);
        auto const place = static_cast<double>(at - out_.categories.begin());
        if (at == out_.categories.end()) {
            out_.categories.push_back(category);
        }
        auto const same = std::find_if(out_.series.begin(), out_.series.end(),
                                       [&](chart_series const& one) { return one.name == series; });
        chart_series& to =
            same == out_.series.end() ? out_.series.emplace_back(chart_series{series, {}}) : *same;
        to.points.push_back({place, value, 0.0});
    }

    [[nodiscard]] std::string draw(bool labels) {
        out_.value_labels = labels;
        return draw_chart(out_, chart_use::standalone);
    }

private:
    chart out_;
};

}  // namespace

std::string decode_chart(speed_table const& table) {
    bar_chart out("Decoding, W4A16 against bf16 in the same engine: " + table.card,
                  "shape, sequences side by side", "times as fast as bf16");
    std::size_t const prefix = shared_prefix(table.rows);
    for (speed_row const& row : table.rows) {
        std::optional<double> const times = speed_up(table, row);
        if (row.work == decode_work && times) {
            out.add(fmt::format("{}, {}", row.shape.substr(prefix), row.batch),
                    fmt::format("{}, context {}", name_of_weights(row.weights),
                                short_length(row.context)),
                    std::round(*times * 100) / 100);  // as many digits as there is room for
        }
    }
    return out.draw(true);
}

std::string prefill_chart(speed_table const& table) {
    bar_chart out("Prefill of one prompt: " + table.card, "shape, tokens of the prompt",
                  "thousand tokens a second");
    std::size_t const prefix = shared_prefix(table.rows);
    for (speed_row const& row : table.rows) {
        if (row.work == prefill_work) {
            out.add(fmt::format("{}, {}", row.shape.substr(prefix), short_length(row.context)),
                    name_of_weights(row.weights), row.tokens_per_second() / 1000);
        }
    }
    return out.draw(false);
}

}  // namespace fpq::tools
