// SPDX-License-Identifier: Apache-2.0
// Floor 5. Functions that every chat template can call.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "fpq/io/chat/chat_machine.hpp"
#include "fpq/io/chat/chat_value.hpp"

namespace fpq::chat {

inline constexpr std::array<char const*, 5> global_names{"namespace", "raise_exception",
                                                         "strftime_now", "range", "dict"};

namespace detail {

inline value range(machine& m, arguments const& args) {
    args.only(m, "range", 3);
    std::array<std::int64_t, 3> n{0, 0, 1};
    for (std::size_t i = 0; i < args.positional.size(); ++i) {
        n[i] = m.integer(args.positional[i], "range");
    }
    if (args.positional.size() < 2) {
        n[1] = std::exchange(n[0], 0);
    }
    constexpr std::int64_t most = 100000;  // the reference's bound as well
    auto const fits = [](std::int64_t x) { return x >= -most && x <= most; };
    if (args.positional.empty() || n[2] == 0 || !fits(n[0]) || !fits(n[1]) || !fits(n[2])) {
        m.fail("a range beyond 100000");
    }
    value_list out;
    for (std::int64_t i = n[0]; n[2] > 0 ? i < n[1] : i > n[1]; i += n[2]) {
        m.spend(1);
        out.push_back(value::integer(i));
    }
    return m.list(std::move(out));
}

/// The same inputs give the same bytes: the clock of templates stands at 26 July 2024, the day
/// that Llama-3's own template takes where there is no clock.
inline value date(machine& m, std::string const& format) {
    std::tm day{};
    day.tm_year = 124;
    day.tm_mon = 6;
    day.tm_mday = 26;
    day.tm_wday = 5;
    day.tm_yday = 207;
    std::array<char, 256> text{};
    std::size_t const n = std::strftime(text.data(), text.size(), format.c_str(), &day);
    if (n == 0 && !format.empty()) {
        m.refuse("a long date");
    }
    return m.text(std::string_view(text.data(), n));
}

}  // namespace detail

/// One of global_names.
inline value call_global(machine& m, std::string const& name, arguments const& args) {
    if (name == "raise_exception") {
        args.only(m, name, 1);
        m.fail("it says: " + (args.positional.empty() ? "" : m.printed(args.positional[0])));
    }
    if (name == "namespace" || name == "dict") {
        if (!args.positional.empty()) {
            m.refuse(name + " of a value");
        }
        return name == "dict" ? m.dict(value_members(args.named)) : m.space(args.named);
    }
    if (name == "range") {
        return detail::range(m, args);
    }
    args.only(m, name, 1);
    return detail::date(m, m.string(args.positional.empty() ? value() : args.positional[0], name));
}

}  // namespace fpq::chat
