// SPDX-License-Identifier: Apache-2.0
// Floor 8. The charts of a report: errors by layer, how far values stick out, quality, time.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "fpq/io/svg/axis_scale.hpp"
#include "fpq/io/svg/chart.hpp"
#include "fpq/pipeline/report.hpp"

namespace fpq::detail {

/// The series of that name, made where it is missing.
inline chart_series& series_named(chart& c, std::string const& name) {
    auto const at = std::find_if(c.series.begin(), c.series.end(),
                                 [&](chart_series const& s) { return s.name == name; });
    return at == c.series.end() ? c.series.emplace_back(chart_series{name, {}}) : *at;
}

/// A line for each kind of linear: what value(linear) gives, by layer. The head has no layer.
template <class Value>
chart lines_by_layer(run_report const& report, std::string title, chart_axis y,
                     Value const& value) {
    chart c;
    c.title = std::move(title);
    c.x = {"layer", false, true};
    c.y = std::move(y);
    for (linear_report const& l : report.linears) {
        std::optional<double> const v = value(l);
        if (v && l.kind != l.module) {
            series_named(c, l.kind).points.push_back({static_cast<double>(l.layer), *v});
        }
    }
    return c;
}

/// Errors of outputs where a second moment was seen, else of weights: both shares of an energy.
inline chart error_chart(run_report const& report) {
    bool const outputs =
        std::any_of(report.linears.begin(), report.linears.end(),
                    [](linear_report const& l) { return l.relative_error.has_value(); });
    chart_axis const y{"relative error", true, false};
    if (outputs) {
        return lines_by_layer(report, "Relative error of outputs, by layer", y,
                              [](linear_report const& l) { return l.relative_error; });
    }
    return lines_by_layer(report, "Relative error of weights, by layer", y,
                          [](linear_report const& l) -> std::optional<double> {
                              if (!l.sqnr_db) {
                                  return std::nullopt;
                              }
                              return std::pow(10.0, -*l.sqnr_db / 10.0);
                          });
}

/// How many linears have a largest weight, or a largest input channel, so many times the rms. Bins
/// grow by the square root of 2, the last one open.
inline chart outlier_chart(run_report const& report) {
    chart c;
    c.kind = chart_kind::bars;
    c.title = "Outliers: the largest, in multiples of the rms";
    c.x.title = "times the rms";
    c.y = {"linears", false, true};
    std::vector<double> ratios;
    for (linear_report const& l : report.linears) {
        for (std::optional<double> const& peak : {l.weight_peak, l.input_peak}) {
            if (peak && std::isfinite(*peak)) {
                ratios.push_back(*peak);
            }
        }
    }
    if (ratios.empty()) {
        return c;
    }
    constexpr double bins_a_doubling = 2.0;
    constexpr std::ptrdiff_t most = 12;
    auto const bin = [](double ratio) {
        return static_cast<std::ptrdiff_t>(
            std::floor(bins_a_doubling * std::log2(std::max(1.0, ratio)) + 1e-9));
    };
    auto const [low, high] = std::minmax_element(ratios.begin(), ratios.end());
    std::ptrdiff_t const first = bin(*low);
    std::ptrdiff_t const last = std::min(bin(*high), first + most - 1);
    auto const edge = [](std::ptrdiff_t b) {
        return short_number(std::pow(2.0, static_cast<double>(b) / bins_a_doubling), 2);
    };
    for (std::ptrdiff_t b = first; b <= last; ++b) {
        bool const open = b == last && bin(*high) > last;
        c.categories.push_back(edge(b) + (open ? " and more" : "\u2013" + edge(b + 1)));
    }
    auto const count = [&](std::string const& name, auto const& peak_of) {
        std::vector<double> found(c.categories.size(), 0.0);
        bool any = false;
        for (linear_report const& l : report.linears) {
            std::optional<double> const peak = peak_of(l);
            if (peak && std::isfinite(*peak)) {
                found[static_cast<std::size_t>(std::min(bin(*peak), last) - first)] += 1.0;
                any = true;
            }
        }
        if (!any) {
            return;
        }
        chart_series series{name, {}};
        for (std::size_t i = 0; i < found.size(); ++i) {
            series.points.push_back({static_cast<double>(i), found[i]});
        }
        c.series.push_back(std::move(series));
    };
    count("weights: largest size", [](linear_report const& l) { return l.weight_peak; });
    count("inputs: largest channel", [](linear_report const& l) { return l.input_peak; });
    return c;
}

/// The texts of an evaluation that gave windows; one text stands for all.
inline std::vector<eval_result const*> evaluated_parts(eval_result const& e) {
    std::vector<eval_result const*> out;
    for (eval_result const& text : e.texts) {
        if (text.targets > 0) {
            out.push_back(&text);
        }
    }
    if (out.size() != 1) {
        out.insert(out.begin(), &e);
    }
    return out;
}

/// What a text is called: the last name of its path.
inline std::string text_name(eval_result const& e) {
    return e.text.empty() ? "all" : e.text.substr(e.text.rfind('/') + 1);
}

inline chart divergence_chart(eval_result const& e) {
    chart c;
    c.kind = chart_kind::bars;
    c.title = "KL to the original, with standard errors";
    c.y.title = "nats";
    c.value_labels = true;
    chart_series kl;
    for (eval_result const* const part : evaluated_parts(e)) {
        kl.points.push_back({static_cast<double>(c.categories.size()), part->kl_mean, part->kl_se});
        c.categories.push_back(text_name(*part));
    }
    c.series.push_back(std::move(kl));
    return c;
}

inline chart perplexity_chart(eval_result const& e) {
    chart c;
    c.kind = chart_kind::bars;
    c.title = "Perplexity, with standard errors";
    c.value_labels = true;
    c.series = {{"original", {}}, {"quantized", {}}};
    for (eval_result const* const part : evaluated_parts(e)) {
        auto const at = static_cast<double>(c.categories.size());
        c.series[0].points.push_back({at, part->reference_perplexity});
        c.series[1].points.push_back({at, part->perplexity, part->perplexity * part->nll_se});
        c.categories.push_back(text_name(*part));
    }
    return c;
}

inline chart phase_chart(run_report const& report) {
    chart c;
    c.kind = chart_kind::bars;
    c.title = "Seconds by phase";
    c.y.title = "seconds";
    c.value_labels = true;
    chart_series seconds;
    constexpr double least = 0.001;
    for (phase_time const& p : report.phases) {
        if (p.seconds < least) {
            continue;  // no bar would be seen
        }
        seconds.points.push_back({static_cast<double>(c.categories.size()), p.seconds});
        c.categories.push_back(p.phase);
    }
    c.series.push_back(std::move(seconds));
    return c;
}

inline chart layer_chart(run_report const& report) {
    chart c;
    c.title = "Seconds by layer";
    c.x = {"layer", false, true};
    c.y.title = "seconds";
    chart_series seconds;
    for (layer_cost const& l : report.layers) {
        seconds.points.push_back({static_cast<double>(l.layer), l.seconds});
    }
    c.series.push_back(std::move(seconds));
    return c;
}

}  // namespace fpq::detail
