// SPDX-License-Identifier: Apache-2.0
#include "inspect/print.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fpq/core/hosted/printable.hpp"

namespace fpq::tools {

namespace {

constexpr std::size_t worst_shown = 5;

std::string shape_of(std::vector<std::uint64_t> const& shape) {
    std::string text;
    for (std::uint64_t const extent : shape) {
        text += (text.empty() ? "" : " x ") + std::to_string(extent);
    }
    return text.empty() ? "scalar" : text;
}

std::string decibels(std::optional<double> value) {
    return value ? fmt::format("{:.3f}", *value) : "-";
}

void print_summary(survey const& found) {
    fmt::print("checkpoint       {}{}{}\n", fpq::detail::printable(found.directory),
               found.model_type.empty() ? "" : ", ", fpq::detail::printable(found.model_type));
    fmt::print("tensors          {} in {} file{}, {} bytes\n", found.all_tensors, found.shards,
               found.shards == 1 ? "" : "s", found.all_bytes);
    if (found.layout.empty()) {
        fmt::print("quantized        {}\n", found.unread ? "in a way that is not read" : "nothing");
        return;
    }
    fmt::print("quantized        {} linears, {}\n", found.all_linears, found.layout);
    if (found.linears.size() < found.all_linears) {
        fmt::print("shown            {} of them\n", found.linears.size());
    }
    for (format_total const& t : found.formats()) {
        double const weights = static_cast<double>(t.weights);
        std::string const stored =
            t.stored_bits == t.bits
                ? std::string()
                : fmt::format(" (pseudoquant: {:.4f} in the file)", t.stored_bits / weights);
        fmt::print("  {:<14} {} linears, {} weights, {:.4f} bits per weight{}, inputs {}\n",
                   t.format, t.linears, t.weights, t.bits / weights, stored,
                   t.inputs.empty() ? "as they are" : t.inputs);
    }
    char const* title = "lowest SQNR";
    for (linear_line const* const l : found.worst(worst_shown)) {
        fmt::print("{:<16} {} dB  {}\n", title, decibels(l->error->sqnr_db),
                   fpq::detail::printable(l->module));
        title = "";
    }
}

void print_linears(survey const& found) {
    fmt::print("\n{:<44} {:>14} {:<10} {:>8} {:>20} {:>18} {:>12} {:>10} {:>9} {:>9}\n", "linear",
               "out x in", "format", "bits", "codes", "scales", "weight G", "input G", "SQNR dB",
               "worst row");
    for (linear_line const& l : found.linears) {
        tensor_line const* const codes = l.codes();
        tensor_line const* const scales = l.scales();
        auto const bytes = [](tensor_line const* t) {
            return t == nullptr ? std::string("-") : fmt::format("{} {}", t->type, t->bytes);
        };
        fmt::print("{:<44} {:>14} {:<10} {:>8.4f} {:>20} {:>18} {:>12g} {:>10g} {:>9} {:>9}\n",
                   fpq::detail::printable(l.module), fmt::format("{} x {}", l.rows, l.cols),
                   l.format, l.bits_per_weight, bytes(codes), bytes(scales), l.weight_global,
                   l.input_global, l.error ? decibels(l.error->sqnr_db) : "-",
                   l.error && l.error->sqnr_db ? decibels(l.error->worst_row_sqnr_db) : "-");
    }
}

void print_tensors(survey const& found) {
    fmt::print("\n{:<56} {:<8} {:>16} {:>12}\n", "other tensors", "type", "shape", "bytes");
    for (tensor_line const& t : found.tensors) {
        fmt::print("{:<56} {:<8} {:>16} {:>12}\n", fpq::detail::printable(t.name), t.type,
                   shape_of(t.shape), t.bytes);
    }
}

}  // namespace

void print_survey(survey const& found, bool tables) {
    print_summary(found);
    if (tables && !found.linears.empty()) {
        print_linears(found);
    }
    if (tables && !found.tensors.empty()) {
        print_tensors(found);
    }
}

void print_findings(verification const& checked) {
    for (std::string const& finding : checked.findings) {
        fmt::print("{}\n", fpq::detail::printable(finding, 400));
    }
    fmt::print("verify: {}\n", checked.faulty ? "faults found" : "fine");
}

}  // namespace fpq::tools
