// SPDX-License-Identifier: Apache-2.0
// Floor 8. What a page is made of: its style, tables, figures. No script, nothing from a network.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "fpq/io/svg/chart.hpp"
#include "fpq/io/svg/chart_style.hpp"
#include "fpq/io/svg/draw_chart.hpp"
#include "fpq/io/svg/xml_text.hpp"

namespace fpq::detail {

/// The colours are those of the charts.
inline constexpr std::string_view page_style =
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;max-width:1060px;padding:1.5rem 1rem 3rem;background:var(--background);"
    "color:var(--ink);font:15px/1.5 system-ui,'DejaVu Sans',sans-serif}\n"
    "h1{font-size:1.6rem;line-height:1.25;margin:0 0 .25rem;overflow-wrap:anywhere}\n"
    "h2{font-size:1.15rem;margin:2.25rem 0 .5rem;padding-bottom:.25rem;"
    "border-bottom:1px solid var(--line)}\n"
    "p{margin:.4rem 0;max-width:46rem;overflow-wrap:anywhere}\n"
    ".faint,figcaption{color:var(--faint)}\n"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:.75rem;"
    "margin:1.25rem 0}\n"
    ".tile{border:1px solid var(--line);border-radius:8px;padding:.6rem .8rem}\n"
    ".tile b{display:block;font-size:1.25rem;line-height:1.3;font-weight:600}\n"
    ".tile span{color:var(--faint);font-size:.85rem}\n"
    ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));"
    "gap:1rem;align-items:start}\n"
    "figure{margin:.5rem 0;min-width:0}\n"
    "figcaption{font-size:.9rem;margin-bottom:.25rem}\n"
    "figure svg{display:block;width:100%;max-width:600px;height:auto}\n"
    ".scroll{overflow-x:auto;margin:.5rem 0}\n"
    "table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}\n"
    "th,td{padding:.25rem .9rem .25rem 0;text-align:right;white-space:nowrap;"
    "border-bottom:1px solid var(--line)}\n"
    "th{font-weight:600;color:var(--faint)}\n"
    "th:first-child,td:first-child{text-align:left}\n"
    "pre{overflow-x:auto;font:13px/1.45 ui-monospace,'DejaVu Sans Mono',monospace;"
    "border:1px solid var(--line);border-radius:8px;padding:.75rem}\n"
    "details{margin:.75rem 0}\nsummary{cursor:pointer;color:var(--faint)}\n"
    "li{overflow-wrap:anywhere}\n"
    "@media print{details:not([open])>*{display:block}}\n";

inline std::string page_begin(std::string_view title) {
    std::string const name = xml_text(title);
    return fmt::format(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\">\n"
        "<title>{}</title>\n<style>\n{}{}</style>\n</head>\n<body>\n<h1>{}</h1>\n",
        name, chart_style(), page_style, name);
}

inline std::string page_end() { return "</body>\n</html>\n"; }

inline std::string heading(std::string_view text) { return "<h2>" + xml_text(text) + "</h2>\n"; }

inline std::string paragraph(std::string_view text, std::string_view kind = {}) {
    return (kind.empty() ? "<p>" : "<p class=\"" + std::string(kind) + "\">") + xml_text(text) +
           "</p>\n";
}

/// A figure of the run that is seen at once.
struct tile {
    std::string value;
    std::string what;
};

inline std::string tiles(std::vector<tile> const& all) {
    std::string out = "<div class=\"tiles\">\n";
    for (tile const& t : all) {
        out += "<div class=\"tile\"><b>" + xml_text(t.value) + "</b><span>" + xml_text(t.what) +
               "</span></div>\n";
    }
    return out + "</div>\n";
}

/// Charts side by side where there is room. Those without points are left out.
inline std::string figures(std::initializer_list<chart> all) {
    std::string out;
    for (chart const& c : all) {
        bool points = false;
        for (chart_series const& s : c.series) {
            points = points || !s.points.empty();
        }
        if (points) {
            out += "<figure><figcaption>" + xml_text(c.title) + "</figcaption>\n" + draw_chart(c) +
                   "</figure>\n";
        }
    }
    return out.empty() ? out : "<div class=\"charts\">\n" + out + "</div>\n";
}

/// A table that scrolls by itself where it is too wide. `rows`: the first is its head.
inline std::string table(std::vector<std::vector<std::string>> const& rows) {
    std::string out = "<div class=\"scroll\"><table>\n";
    for (std::size_t i = 0; i < rows.size(); ++i) {
        char const* const cell = i == 0 ? "th" : "td";
        out += i == 0 ? "<thead><tr>" : "<tr>";
        for (std::string const& text : rows[i]) {
            out += fmt::format("<{0}>{1}</{0}>", cell, xml_text(text));
        }
        out += i == 0 ? "</tr></thead>\n<tbody>\n" : "</tr>\n";
    }
    return out + "</tbody></table></div>\n";
}

/// What is only shown to who asks for it; `content` is HTML.
inline std::string folded(std::string_view title, std::string const& content) {
    return "<details><summary>" + xml_text(title) + "</summary>\n" + content + "</details>\n";
}

}  // namespace fpq::detail
