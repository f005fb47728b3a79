// SPDX-License-Identifier: Apache-2.0
// Floor 5. Methods that templates call on texts, dicts and loops. None changes its object.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/io/chat/chat_machine.hpp"
#include "fpq/io/chat/chat_operators.hpp"
#include "fpq/io/chat/chat_strings.hpp"
#include "fpq/io/chat/chat_value.hpp"

namespace fpq::chat {

enum class letter_case { lower, upper, title, capital };

/// Python's case functions, for ASCII; others have mappings of several letters.
inline value with_case(machine& m, std::string const& text, letter_case how) {
    if (!is_ascii(text)) {
        m.refuse("upper or lower case of letters beyond ASCII");
    }
    std::string out = text;
    bool begins = true;
    for (char& c : out) {
        bool const is_large = how == letter_case::upper || (how != letter_case::lower && begins);
        c = is_large ? upper(c) : lower(c);
        bool const is_letter = lower(c) >= 'a' && lower(c) <= 'z';
        begins = how == letter_case::title && !is_letter;
    }
    return m.text(std::move(out));
}

namespace detail {

inline value split_method(machine& m, std::string const& text, arguments const& args) {
    args.only(m, "split", 2, {"sep", "maxsplit"});
    value const* const most = args.get(1, "maxsplit");
    std::int64_t const cuts = most == nullptr ? -1 : m.integer(*most, "split");
    value const* const separator = args.get(0, "sep");
    std::vector<std::string_view> parts;
    if (separator == nullptr || separator->is<value::none>()) {
        if (cuts >= 0) {
            m.refuse("split at white space with maxsplit");
        }
        m.spend(text.size());
        parts = split_words(text);
    } else {
        std::string const& by = m.string(*separator, "split");
        if (by.empty()) {
            m.fail("split at an empty text");
        }
        m.search(text.size(), by.size());
        parts = split(
            text, by,
            cuts < 0 ? std::numeric_limits<std::size_t>::max() : static_cast<std::size_t>(cuts));
    }
    value_list out;
    m.spend(parts.size());
    for (std::string_view const part : parts) {
        out.push_back(m.text(part));
    }
    return m.list(std::move(out));
}

/// Whether the text begins or ends with the argument, or one of its list.
inline bool begins_or_ends(machine& m, std::string const& text, std::string const& name,
                           arguments const& args) {
    args.only(m, name, 1);
    value const* const what = args.get(0, "");
    if (what == nullptr) {
        m.fail(name + " without an argument");
    }
    value_list const all = what->items() != nullptr ? m.iterate(*what) : value_list{*what};
    return std::any_of(all.begin(), all.end(), [&](value const& v) {
        std::string const& part = m.string(v, name);
        m.look(part.size());
        return name == "startswith" ? text.starts_with(part) : text.ends_with(part);
    });
}

}  // namespace detail

/// str.replace of the arguments (old, new, count).
inline value replace_method(machine& m, std::string const& text, arguments const& args) {
    args.only(m, "replace", 3, {"count"});
    if (args.positional.size() < 2) {
        m.fail("replace with fewer than two arguments");
    }
    std::string const& from = m.string(args.positional[0], "replace");
    std::string const& to = m.string(args.positional[1], "replace");
    value const* const count = args.get(2, "count");
    std::int64_t const most =
        count == nullptr || count->is<value::none>() ? -1 : m.integer(*count, "replace");
    if (from.empty()) {
        m.refuse("replace of an empty text");
    }
    m.search(text.size(), from.size());
    std::size_t const times = split(text, from, std::numeric_limits<std::size_t>::max()).size();
    if (to.size() > m.steps / times) {
        m.spend(m.steps + 1);
    }
    return m.text(replaced(
        text, from, to,
        most < 0 ? std::numeric_limits<std::size_t>::max() : static_cast<std::size_t>(most)));
}

inline value string_method(machine& m, std::string const& text, std::string const& name,
                           arguments const& args) {
    if (name == "strip" || name == "lstrip" || name == "rstrip") {
        args.only(m, name, 1);
        bool const left = name != "rstrip";
        bool const right = name != "lstrip";
        value const* const set = args.get(0, "");
        if (set != nullptr && !set->is<value::none>()) {
            std::string const& letters = m.string(*set, name);
            m.search(text.size(), letters.size());
            return m.text(strip_set(text, letters, left, right));
        }
        m.look(text.size());
        std::string_view out = left ? strip_left(text) : std::string_view(text);
        return m.text(right ? strip_right(out) : out);
    }
    if (name == "startswith" || name == "endswith") {
        return value::boolean(detail::begins_or_ends(m, text, name, args));
    }
    if (name == "split") {
        return detail::split_method(m, text, args);
    }
    if (name == "replace") {
        return replace_method(m, text, args);
    }
    if (name == "lower" || name == "upper" || name == "title" || name == "capitalize") {
        args.only(m, name, 0);
        return with_case(m, text,
                         name == "lower"   ? letter_case::lower
                         : name == "upper" ? letter_case::upper
                         : name == "title" ? letter_case::title
                                           : letter_case::capital);
    }
    if (name == "removeprefix" || name == "removesuffix" || name == "find" || name == "count") {
        args.only(m, name, 1);
        std::string const& part =
            m.string(args.positional.empty() ? value() : args.positional[0], name);
        m.spend(text.size());
        m.search(text.size(), part.size());
        if (name == "find") {
            std::size_t const at = text.find(part);
            return value::integer(
                at == std::string::npos
                    ? -1
                    : static_cast<std::int64_t>(
                          characters(std::string_view(text).substr(0, at)).size()));
        }
        if (name == "count") {
            if (part.empty()) {
                m.refuse("count of an empty text");
            }
            std::size_t const parts =
                split(text, part, std::numeric_limits<std::size_t>::max()).size();
            return value::integer(static_cast<std::int64_t>(parts) - 1);
        }
        std::string_view out = text;
        if (name == "removeprefix" && out.starts_with(part)) {
            out.remove_prefix(part.size());
        } else if (name == "removesuffix" && out.ends_with(part)) {
            out.remove_suffix(part.size());
        }
        return m.text(out);
    }
    m.refuse("method " + name + " of a text");
}

/// get, items, keys and values.
inline value dict_method(machine& m, value_members const& members, std::string const& name,
                         arguments const& args) {
    if (name == "get") {
        args.only(m, name, 2);
        std::string const& key =
            m.string(args.positional.empty() ? value() : args.positional[0], name);
        if (value const* const found = m.member(members, key)) {
            return *found;
        }
        return args.positional.size() > 1 ? args.positional[1] : value::null();
    }
    args.only(m, name, 0);
    value_list out;
    for (auto const& [key, v] : members) {
        out.push_back(name == "keys"     ? value::of(key)
                      : name == "values" ? v
                                         : m.tuple(value_list{value::of(key), v}));
        m.look(key.size());
    }
    if (name != "keys" && name != "values" && name != "items") {
        m.refuse("method " + name + " of a dict");
    }
    return m.list(std::move(out));
}

}  // namespace fpq::chat
