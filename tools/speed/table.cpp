// SPDX-License-Identifier: Apache-2.0
#include "speed/table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "fpq/io/json/json_file.hpp"
#include "fpq/io/json/json_value.hpp"

namespace fpq::tools {

namespace {

constexpr char const* bad_table = "bad table of speeds";

speed_row read_row(json_value const& json) {
    constexpr json_range<double> positive{std::numeric_limits<double>::min(), 1e15};
    constexpr json_range<double> any{0.0, 1e18};
    constexpr json_range<std::size_t> count{1, std::size_t{1} << 40};
    speed_row row;
    row.shape = json.required<std::string>("shape");
    row.weights = json.required<std::string>("weights");
    row.work = json.required<std::string>("work");
    if (row.work != decode_work && row.work != prefill_work) {
        json.refuse_member("work", bad_table, "\"decode\" or \"prefill\"");
    }
    row.batch = json.required<std::size_t>("batch", count);
    row.context = json.required<std::size_t>("context", count);
    row.mean_context = json.optional<double>("mean_context", any).value_or(0.0);
    row.milliseconds = json.required<double>("milliseconds", positive);
    row.least = json.optional<double>("least", any).value_or(row.milliseconds);
    row.most = json.optional<double>("most", any).value_or(row.milliseconds);
    row.samples = json.optional<std::size_t>("samples").value_or(1);
    row.step_bytes = json.optional<double>("step_bytes", any).value_or(0.0);
    return row;
}

}  // namespace

speed_row const* speed_table::find(std::string_view shape, std::string_view weights,
                                   std::string_view work, std::size_t batch,
                                   std::size_t context) const {
    auto const at = std::find_if(rows.begin(), rows.end(), [&](speed_row const& row) {
        return row.shape == shape && row.weights == weights && row.work == work &&
               row.batch == batch && row.context == context;
    });
    return at == rows.end() ? nullptr : &*at;
}

nlohmann::ordered_json json_of(speed_table const& table) {
    nlohmann::ordered_json rows = nlohmann::ordered_json::array();
    for (speed_row const& row : table.rows) {
        nlohmann::ordered_json one{
            {"shape", row.shape},     {"weights", row.weights},
            {"work", row.work},       {"batch", row.batch},
            {"context", row.context}, {"milliseconds", row.milliseconds},
            {"least", row.least},     {"most", row.most},
            {"samples", row.samples}, {"tokens_per_second", row.tokens_per_second()}};
        if (row.work == decode_work) {
            one["mean_context"] = row.mean_context;
            one["step_bytes"] = row.step_bytes;
        }
        if (std::optional<double> const times = speed_up(table, row)) {
            one["speed_up_over_bf16"] = *times;
        }
        rows.push_back(std::move(one));
    }
    return {{"card", table.card},         {"capability", table.capability},
            {"driver", table.driver},     {"copy_bytes_per_second", table.copy_rate},
            {"left_out", table.left_out}, {"rows", std::move(rows)}};
}

speed_table read_speed_table(std::filesystem::path const& file) {
    nlohmann::json const json = read_json_file(file);
    json_value const top(json, file.string(), bad_table);
    speed_table table;
    table.card = top.required<std::string>("card");
    table.capability = top.optional<std::string>("capability").value_or("");
    table.driver = top.optional<std::string>("driver").value_or("");
    table.copy_rate = top.optional<double>("copy_bytes_per_second", {0.0, 1e18}).value_or(0.0);
    table.left_out =
        top.optional<std::vector<std::string>>("left_out").value_or(std::vector<std::string>());
    for (json_value const& row : top.at("rows").elements()) {
        table.rows.push_back(read_row(row));
    }
    return table;
}

std::optional<double> speed_up(speed_table const& table, speed_row const& row) {
    speed_row const* const base = table.find(row.shape, "bf16", row.work, row.batch, row.context);
    return base == nullptr || row.weights == "bf16"
               ? std::nullopt
               : std::optional(base->milliseconds / row.milliseconds);
}

std::string line_of(speed_table const& table) {
    return fmt::format("{}, compute capability {}, driver {}, copy {:.0f} GB/s", table.card,
                       table.capability, table.driver, table.copy_rate * 1e-9);
}

std::string line_of(speed_row const& row, double copy_rate) {
    std::string out = fmt::format(
        "{} {} {}, {}context {:>6}  {:9.3f} ms [{:.3f}, {:.3f}] {:9.0f} tokens/s", row.shape,
        row.weights, row.work,
        row.work == decode_work ? fmt::format("batch {:>2}, ", row.batch) : std::string(),
        row.context, row.milliseconds, row.least, row.most, row.tokens_per_second());
    if (row.step_bytes > 0 && copy_rate > 0) {
        out +=
            fmt::format("  {:.2f} of copy", row.step_bytes / (row.milliseconds * 1e-3) / copy_rate);
    }
    return out;
}

}  // namespace fpq::tools
