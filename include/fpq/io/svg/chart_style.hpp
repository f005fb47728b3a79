// SPDX-License-Identifier: Apache-2.0
// Floor 5. The colours of charts and pages, light and dark. Every colour of a series stands out
// from its background by 4.5 to 1, as small text must (WCAG 2.1, 1.4.3).
#pragma once

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace fpq {

struct chart_colors {
    std::string_view background;
    std::string_view ink;    ///< text
    std::string_view faint;  ///< text of axes
    std::string_view line;   ///< grid and borders
    std::array<std::string_view, 8> series;
};

inline constexpr chart_colors light_colors{
    "#ffffff",
    "#1b1f24",
    "#57606a",
    "#d5dae0",
    {"#0b62a8", "#b3430e", "#1b7a3d", "#8a3fa0", "#8a5a00", "#00707a", "#b0275c", "#555f6b"}};
inline constexpr chart_colors dark_colors{
    "#14171b",
    "#e6e9ed",
    "#a3acb7",
    "#39414b",
    {"#6cb6ff", "#ff9a62", "#6fd08c", "#d39cf0", "#e3b341", "#4fd0d8", "#ff8ab5", "#aeb8c4"}};

namespace detail {

inline std::string color_variables(chart_colors const& colors, std::string_view scheme) {
    std::string out = fmt::format("color-scheme:{};--background:{};--ink:{};--faint:{};--line:{}",
                                  scheme, colors.background, colors.ink, colors.faint, colors.line);
    for (std::size_t i = 0; i < colors.series.size(); ++i) {
        out += fmt::format(";--s{}:{}", i, colors.series[i]);
    }
    return out;
}

}  // namespace detail

/// The style sheet of charts, once in a page or within a standalone SVG: variables on the root,
/// which a page may use for what is its own.
inline std::string chart_style() {
    std::string out =
        fmt::format(":root{{{}}}\n@media (prefers-color-scheme:dark){{:root{{{}}}}}\n",
                    detail::color_variables(light_colors, "light"),
                    detail::color_variables(dark_colors, "dark"));
    out +=
        ".chart{font:12px system-ui,'DejaVu Sans',sans-serif}\n"
        ".chart text{fill:var(--faint)}\n"
        ".chart .title{fill:var(--ink);font-size:14px;font-weight:600}\n"
        ".chart .name,.chart .value{fill:var(--ink)}\n"
        ".chart .back{fill:var(--background)}\n"
        ".chart .grid{stroke:var(--line);stroke-width:1}\n"
        ".chart .base{stroke:var(--faint);stroke-width:1}\n"
        ".chart .path{fill:none;stroke-width:1.8;stroke-linejoin:round}\n"
        ".chart .error{fill:none;stroke-width:1.2}\n"
        ".chart .rim{fill:none;stroke:var(--background);stroke-width:3.6}\n"
        ".chart .whisker{fill:none;stroke:var(--ink);stroke-width:1.2}\n";
    for (std::size_t i = 0; i < light_colors.series.size(); ++i) {
        out +=
            fmt::format(".chart .s{0}{{stroke:var(--s{0})}}.chart .f{0}{{fill:var(--s{0})}}\n", i);
    }
    return out;
}

}  // namespace fpq
