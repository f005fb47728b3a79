// SPDX-License-Identifier: Apache-2.0
// Floor 5. Filters of a chat template ("x | trim").
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "fpq/io/chat/chat_machine.hpp"
#include "fpq/io/chat/chat_methods.hpp"
#include "fpq/io/chat/chat_operators.hpp"
#include "fpq/io/chat/chat_tests.hpp"
#include "fpq/io/chat/chat_value.hpp"

namespace fpq::chat {

inline value filter(machine& m, std::string const& name, value const& v, arguments const& args);

namespace detail {

/// The member that "a.b" names.
inline value path_of(machine& m, value v, std::string const& path) {
    m.spend(path.size());
    for (std::string_view const part : split(path, ".", path.size())) {
        v = v.is<undefined>() ? v : item(m, v, value::of(part));
    }
    return v;
}

/// The arguments behind the first `n`.
inline arguments behind(arguments const& args, std::size_t n) {
    arguments out;
    for (std::size_t i = n; i < args.positional.size(); ++i) {
        out.positional.push_back(args.positional[i]);
    }
    return out;
}

/// select, reject, selectattr, rejectattr.
inline value selected(machine& m, std::string const& name, value const& v, arguments const& args) {
    bool const by_member = name.ends_with("attr");
    bool const keeps = name.starts_with("select");
    args.only(m, name, by_member ? 3 : 2);
    std::size_t const at = by_member ? 1 : 0;
    if (args.positional.size() < at) {
        m.fail(name + " without the name of a member");
    }
    value_list out;
    for (value const& entry : m.iterate(v)) {
        value const x = by_member ? path_of(m, entry, m.string(args.positional[0], name)) : entry;
        bool const holds =
            args.positional.size() > at
                ? test(m, m.string(args.positional[at], name), x, behind(args, at + 1))
                : truth(x);
        if (holds == keeps) {
            out.push_back(entry);
        }
    }
    return m.lazy(std::move(out));
}

inline value mapped(machine& m, value const& v, arguments const& args) {
    args.only(m, "map", 8, {"attribute", "default"});
    value const* const by = args.positional.empty() ? args.get(1, "attribute") : nullptr;
    value const* const otherwise = args.positional.empty() ? args.get(2, "default") : nullptr;
    if (by == nullptr && args.positional.empty()) {
        m.fail("map without a filter or attribute");
    }
    value_list out;
    for (value const& entry : m.iterate(v)) {
        if (by == nullptr) {
            out.push_back(filter(m, m.string(args.positional[0], "map"), entry, behind(args, 1)));
            continue;
        }
        value x = path_of(m, entry, m.string(*by, "map"));
        if (x.is<undefined>() && otherwise != nullptr) {
            x = *otherwise;
        }
        out.push_back(std::move(x));
    }
    return m.lazy(std::move(out));
}

inline value joined(machine& m, value const& v, arguments const& args) {
    args.only(m, "join", 2, {"d", "attribute"});
    value const* const between = args.get(0, "d");
    value const* const by = args.get(1, "attribute");
    std::string const separator = between == nullptr ? "" : m.printed(*between);
    std::string out;
    bool first = true;
    for (value const& entry : m.iterate(v)) {
        m.spend(separator.size());
        out += std::exchange(first, false) ? "" : separator;
        out += m.printed(by == nullptr ? entry : path_of(m, entry, m.string(*by, "join")));
    }
    return m.text(std::move(out));
}

inline value as_json(machine& m, value const& v, arguments const& args) {
    args.only(m, "tojson", 0, {"indent", "ensure_ascii"});
    value const* const ascii = args.get(0, "ensure_ascii");
    if (ascii != nullptr && truth(*ascii)) {
        m.refuse("tojson with ensure_ascii");
    }
    value const* const indent = args.get(0, "indent");
    std::optional<std::size_t> width;
    if (indent != nullptr && !indent->is<value::none>()) {
        std::int64_t const n = m.integer(*indent, "tojson");
        if (n < 0 || n > 16) {
            m.refuse("tojson with indent " + std::to_string(n));
        }
        width = static_cast<std::size_t>(n);
    }
    std::size_t const most = m.steps + 1;
    std::size_t const line = 1 + width.value_or(0) * (v.depth() + 1);
    m.spend(std::min(v.size(), most / line + 1) * line);
    return m.text(json_of(v, width, m.at));
}

/// int(v), with a default for what is no number.
inline value as_integer(machine& m, value const& v, arguments const& args) {
    args.only(m, "int", 1, {"default"});
    value const* const otherwise = args.get(0, "default");
    if (v.is<bool>() || v.is<std::int64_t>()) {
        return value::integer(m.integer(v, "int"));
    }
    if (auto const* s = v.string()) {
        std::string_view const text = strip_right(strip_left(*s));
        std::int64_t i = 0;
        auto const [end, problem] = std::from_chars(text.data(), text.data() + text.size(), i);
        if (problem == std::errc{} && end == text.data() + text.size()) {
            return value::integer(i);
        }
        if (text.find_first_of("0123456789") != std::string_view::npos) {
            m.refuse("int of a text that is no plain integer");
        }
    } else if (v.is<double>()) {
        m.refuse("int of a float");
    }
    return otherwise == nullptr ? value::integer(0) : *otherwise;
}

inline value first_or_last(machine& m, std::string const& name, value const& v) {
    if (name == "last" && v.is<std::shared_ptr<generator>>()) {
        m.refuse("last of a generator");
    }
    if (auto const* g = v.get<std::shared_ptr<generator>>(); g != nullptr && !(*g)->used) {
        m.spend(1);
        if ((*g)->items.empty()) {
            return value::missing(name);
        }
        m.spend((*g)->items.size());
        value out = (*g)->items.front();
        (*g)->items.erase((*g)->items.begin());
        return out;
    }
    value_list const all = m.iterate(v);
    return all.empty() ? value::missing(name) : name == "first" ? all.front() : all.back();
}

inline value reversed(machine& m, value const& v) {
    value_list all = m.iterate(v);
    std::reverse(all.begin(), all.end());
    if (v.string() == nullptr) {
        return m.lazy(std::move(all));
    }
    std::string out;
    for (value const& letter : all) {
        out += *letter.string();
    }
    return m.text(std::move(out));
}

inline value unique(machine& m, value const& v) {
    value_list out;
    for (value const& entry : m.iterate(v)) {
        if (entry.string() != nullptr) {
            (void)with_case(m, *entry.string(), letter_case::lower);  // it compares without case
        }
        m.spend(out.size());
        if (std::none_of(out.begin(), out.end(), [&](value const& other) {
                return entry.string() != nullptr && other.string() != nullptr
                           ? *with_case(m, *entry.string(), letter_case::lower).string() ==
                                 *with_case(m, *other.string(), letter_case::lower).string()
                           : m.equal(entry, other);
            })) {
            out.push_back(entry);
        }
    }
    return m.lazy(std::move(out));
}

/// What a filter without arguments gives, or nothing when it is not known.
inline std::optional<value> plain_filter(machine& m, std::string const& name, value const& v) {
    if (name == "length" || name == "count") {
        return value::integer(static_cast<std::int64_t>(m.length(v)));
    }
    if (name == "string") {
        return v.string() != nullptr ? v : m.text(m.printed(v));
    }
    if (name == "safe") {
        return v;  // nothing is escaped
    }
    if (name == "lower" || name == "upper" || name == "capitalize") {
        return with_case(m, m.printed(v),
                         name == "lower"   ? letter_case::lower
                         : name == "upper" ? letter_case::upper
                                           : letter_case::capital);
    }
    if (name == "first" || name == "last") {
        return first_or_last(m, name, v);
    }
    if (name == "list") {
        return m.list(m.iterate(v));
    }
    if (name == "reverse") {
        return reversed(m, v);
    }
    if (name == "unique") {
        return unique(m, v);
    }
    if (name == "items") {
        if (v.is<undefined>()) {
            return m.lazy({});
        }
        if (v.members() == nullptr) {
            m.fail("items of " + machine::described(v));
        }
        return m.lazy(value_list(*dict_method(m, *v.members(), "items", {}).items()));
    }
    if (name == "abs" && v.is<std::int64_t>()) {
        return truth(value::boolean(*v.get<std::int64_t>() < 0))
                   ? arithmetic(m, "-", value::integer(0), v)
                   : v;
    }
    return std::nullopt;
}

}  // namespace detail

inline value filter(machine& m, std::string const& name, value const& v, arguments const& args) {
    if (name == "tojson") {
        return detail::as_json(m, v, args);
    }
    if (name == "trim") {
        args.only(m, name, 1, {"chars"});
        arguments set;
        if (value const* const chars = args.get(0, "chars")) {
            set.positional.push_back(*chars);
        }
        return string_method(m, m.printed(v), "strip", set);
    }
    if (name == "default" || name == "d") {
        args.only(m, name, 2, {"default_value", "boolean"});
        value const* const otherwise = args.get(0, "default_value");
        value const* const falsy = args.get(1, "boolean");
        bool const replaces = v.is<undefined>() || (falsy != nullptr && truth(*falsy) && !truth(v));
        return !replaces ? v : otherwise == nullptr ? value::of(std::string_view()) : *otherwise;
    }
    if (name == "join") {
        return detail::joined(m, v, args);
    }
    if (name == "replace") {
        return replace_method(m, m.printed(v), args);
    }
    if (name == "int") {
        return detail::as_integer(m, v, args);
    }
    if (name == "map") {
        return detail::mapped(m, v, args);
    }
    if (name == "select" || name == "reject" || name == "selectattr" || name == "rejectattr") {
        return detail::selected(m, name, v, args);
    }
    if (args.positional.empty() && args.named.empty()) {
        if (std::optional<value> out = detail::plain_filter(m, name, v)) {
            return *std::move(out);
        }
    }
    m.refuse("filter '" + name + "'" + (args.positional.empty() ? "" : " with arguments"));
}

}  // namespace fpq::chat
