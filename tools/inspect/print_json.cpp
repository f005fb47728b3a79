// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fpq/io/json/json_text.hpp"
#include "inspect/print.hpp"

namespace fpq::tools {

namespace {

using json = nlohmann::ordered_json;

/// As in reports: "inf" and "-inf" where JSON has no number, null where nothing was measured.
json number(std::optional<double> value) {
    if (!value || std::isnan(*value)) {
        return nullptr;
    }
    return std::isinf(*value) ? json(*value > 0 ? "inf" : "-inf") : json(*value);
}

json text_or_null(std::string const& text) { return text.empty() ? json() : json(text); }

json to_json(std::vector<tensor_line> const& tensors) {
    json out = json::array();
    for (tensor_line const& t : tensors) {
        out.push_back({{"name", t.name}, {"type", t.type}, {"shape", t.shape}, {"bytes", t.bytes}});
    }
    return out;
}

json to_json(linear_line const& l) {
    json out{{"module", l.module},
             {"rows", l.rows},
             {"cols", l.cols},
             {"format", l.format},
             {"inputs", text_or_null(l.inputs)},
             {"bits_per_weight", l.bits_per_weight},
             {"stored_bits_per_weight", l.stored_bits},
             {"bytes", l.bytes()},
             {"weight_global_scale", l.weight_global},
             {"input_global_scale", l.input_global}};
    if (l.error) {
        bool const measured = l.error->sqnr_db.has_value();
        out["sqnr_db"] = number(l.error->sqnr_db);
        out["worst_row_sqnr_db"] = measured ? number(l.error->worst_row_sqnr_db) : json();
        out["zeroed_blocks"] = l.error->zeroed_blocks;
    }
    out["tensors"] = to_json(l.tensors);
    return out;
}

json summary_of(survey const& found) {
    json formats = json::array();
    for (format_total const& t : found.formats()) {
        formats.push_back(
            {{"format", t.format},
             {"inputs", text_or_null(t.inputs)},
             {"linears", t.linears},
             {"weights", t.weights},
             {"bits_per_weight", t.bits / static_cast<double>(t.weights)},
             {"stored_bits_per_weight", t.stored_bits / static_cast<double>(t.weights)}});
    }
    json worst = json::array();
    for (linear_line const* const l : found.worst(5)) {
        worst.push_back({{"module", l->module}, {"sqnr_db", number(l->error->sqnr_db)}});
    }
    return {{"quantized_linears", found.all_linears},
            {"shown_linears", found.linears.size()},
            {"formats", std::move(formats)},
            {"lowest_sqnr", std::move(worst)}};
}

}  // namespace

void print_json(survey const& found, std::optional<verification> const& checked, bool tables) {
    json out{{"checkpoint", fpq::utf8_escaped(found.directory)},
             {"model_type", text_or_null(found.model_type)},
             {"layout", text_or_null(found.layout)},
             {"shards", found.shards},
             {"tensors", found.all_tensors},
             {"bytes", found.all_bytes},
             {"summary", summary_of(found)}};
    if (tables) {
        json linears = json::array();
        for (linear_line const& l : found.linears) {
            linears.push_back(to_json(l));
        }
        out["linears"] = std::move(linears);
        out["plain_tensors"] = to_json(found.tensors);
    }
    if (checked) {
        out["verify"] = {{"faulty", checked->faulty}, {"findings", checked->findings}};
    }
    fmt::print("{}\n", fpq::utf8_json(out).dump(2, ' ', true));
}

}  // namespace fpq::tools
