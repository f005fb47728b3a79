// SPDX-License-Identifier: Apache-2.0
// Floor 5. Operators of a chat template: arithmetic, comparison, members, slices.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/io/chat/chat_machine.hpp"
#include "fpq/io/chat/chat_value.hpp"

namespace fpq::chat {

namespace detail {

inline value integer_result(machine& m, std::string const& op, std::int64_t a, std::int64_t b) {
    std::int64_t out = 0;
    bool overflow = false;
    if (op == "+") {
        overflow = __builtin_add_overflow(a, b, &out);
    } else if (op == "-") {
        overflow = __builtin_sub_overflow(a, b, &out);
    } else if (op == "*") {
        overflow = __builtin_mul_overflow(a, b, &out);
    } else if (b == 0) {
        m.fail("division by zero");
    } else if (op == "/") {
        return value(value::data(static_cast<double>(a) / static_cast<double>(b)));
    } else if (b == -1) {  // the one quotient that overflows
        overflow = op == "//" && __builtin_sub_overflow(std::int64_t{0}, a, &out);
    } else {
        bool const down = a % b != 0 && (a < 0) != (b < 0);  // Python rounds to minus infinity
        out = op == "//" ? a / b - (down ? 1 : 0) : a % b + (down ? b : 0);
    }
    if (overflow) {
        m.refuse("an integer beyond 64 bits");
    }
    return value::integer(out);
}

inline value repeated(machine& m, std::string const& text, std::int64_t times) {
    std::string out;
    if (text.empty() || times <= 0) {
        // Nothing, however often: no bound on size would hold `times`.
        return m.text(std::move(out));
    }
    auto const n = static_cast<std::size_t>(times);
    if (text.size() > m.steps / n) {
        m.spend(m.steps + 1);
    }
    for (std::size_t i = 0; i < n; ++i) {
        out += text;
    }
    return m.text(std::move(out));
}

}  // namespace detail

/// a op b for + - * / // %.
inline value arithmetic(machine& m, std::string const& op, value const& a, value const& b) {
    if (auto const* x = a.string(), *y = b.string(); x != nullptr && y != nullptr && op == "+") {
        return m.text(*x + *y);
    }
    if (auto const* x = a.items(), *y = b.items();
        x != nullptr && y != nullptr && op == "+" && a.is<value::tuple>() == b.is<value::tuple>()) {
        value_list out = *x;
        out.insert(out.end(), y->begin(), y->end());
        return a.is<value::tuple>() ? m.tuple(std::move(out)) : m.list(std::move(out));
    }
    bool const whole = !a.is<double>() && !b.is<double>();
    if (a.is_number() && b.is_number()) {
        if (whole) {
            return detail::integer_result(m, op, m.integer(a, op), m.integer(b, op));
        }
        double const x = real_of(a);
        double const y = real_of(b);
        if (op == "+" || op == "-" || op == "*") {
            return value(value::data(op == "+" ? x + y : op == "-" ? x - y : x * y));
        }
        if (y == 0) {
            m.fail("division by zero");
        }
        if (op == "/") {
            return value(value::data(x / y));
        }
        m.refuse("operator " + op + " of floats");
    }
    if (op == "*" && a.string() != nullptr && b.is<std::int64_t>()) {
        return detail::repeated(m, *a.string(), *b.get<std::int64_t>());
    }
    if (op == "*" && b.string() != nullptr && a.is<std::int64_t>()) {
        return detail::repeated(m, *b.string(), *a.get<std::int64_t>());
    }
    if (op == "%" && a.string() != nullptr) {
        m.refuse("text formatting with %");
    }
    m.fail("operator " + op + " of " + machine::described(a) + " and " + machine::described(b));
}

/// item in whole.
inline bool contains(machine& m, value const& item, value const& whole) {
    if (auto const* s = whole.string()) {
        std::string const& part = m.string(item, "in");
        m.search(s->size(), part.size());
        return s->find(part) != std::string::npos;
    }
    if (auto const* d = whole.members()) {
        return item.string() != nullptr && m.member(*d, *item.string()) != nullptr;
    }
    for (value const& other : m.iterate(whole)) {
        if (m.equal(item, other)) {
            return true;
        }
    }
    return false;
}

inline bool compare(machine& m, std::string const& op, value const& a, value const& b) {
    if (op == "==" || op == "!=") {
        return m.equal(a, b) == (op == "==");
    }
    if (op == "in" || op == "not in") {
        return contains(m, a, b) == (op == "in");
    }
    int order = 0;
    if (a.is_number() && b.is_number()) {
        double const x = real_of(a);
        double const y = real_of(b);
        if (std::isnan(x) || std::isnan(y)) {
            return false;
        }
        auto const *i = a.get<std::int64_t>(), *j = b.get<std::int64_t>();
        order = i != nullptr && j != nullptr ? (*i > *j) - (*i < *j) : (x > y) - (x < y);
    } else if (a.string() != nullptr && b.string() != nullptr) {
        m.look(std::min(a.size(), b.size()));
        order = a.string()->compare(*b.string());
    } else {
        m.fail("operator " + op + " of " + machine::described(a) + " and " + machine::described(b));
    }
    return op == "<" ? order < 0 : op == "<=" ? order <= 0 : op == ">" ? order > 0 : order >= 0;
}

namespace detail {

inline value loop_member(machine const& m, loop_state const& loop, std::string_view name) {
    auto const number = [](std::size_t n) { return value::integer(static_cast<std::int64_t>(n)); };
    std::size_t const n = loop.items.size();
    if (name == "index" || name == "index0") {
        return number(loop.index + (name == "index" ? 1 : 0));
    }
    if (name == "revindex" || name == "revindex0") {
        return number(n - loop.index - (name == "revindex" ? 0 : 1));
    }
    if (name == "first" || name == "last") {
        return value::boolean(name == "first" ? loop.index == 0 : loop.index + 1 == n);
    }
    if (name == "length") {
        return number(n);
    }
    if (name == "depth" || name == "depth0") {
        return number(name == "depth" ? 1 : 0);
    }
    if (name == "previtem") {
        return loop.index == 0 ? value::missing("previtem") : loop.items[loop.index - 1];
    }
    if (name == "nextitem") {
        return loop.index + 1 == n ? value::missing("nextitem") : loop.items[loop.index + 1];
    }
    m.refuse("loop." + std::string(name));
}

/// Names that a point finds in Python's own types before the members of a dict.
inline bool is_method(value const& v, std::string_view name) {
    static constexpr std::string_view of_dict =
        " clear copy fromkeys get items keys pop popitem setdefault update values ";
    static constexpr std::string_view of_list =
        " append clear copy count extend index insert pop remove reverse sort ";
    std::string const word = " " + std::string(name) + " ";
    return (v.members() != nullptr && of_dict.find(word) != std::string_view::npos) ||
           (v.items() != nullptr && of_list.find(word) != std::string_view::npos);
}

}  // namespace detail

/// v.name.
inline value attribute(machine& m, value const& v, std::string const& name) {
    if (v.is<undefined>()) {
        m.fail("member '" + name + "' of " + machine::described(v));
    }
    if (name.starts_with("__")) {
        m.refuse("member " + name);
    }
    if (detail::is_method(v, name)) {
        m.refuse("method " + name + " without a call");
    }
    value const* found = nullptr;
    if (auto const* d = v.members()) {
        found = m.member(*d, name);
    } else if (auto const* n = v.get<std::shared_ptr<name_space>>()) {
        found = m.member((*n)->members, name);
    } else if (auto const* l = v.get<std::shared_ptr<loop_state>>()) {
        return detail::loop_member(m, **l, name);
    }
    return found == nullptr ? value::missing(name) : *found;
}

/// v[key].
inline value item(machine& m, value const& v, value const& key) {
    if (v.is<undefined>()) {
        m.fail("an item of " + machine::described(v));
    }
    if (auto const* name = key.string()) {
        value const* const found = v.members() == nullptr ? nullptr : m.member(*v.members(), *name);
        if (found != nullptr) {
            return *found;
        }
        return attribute(m, v, *name);
    }
    if (key.is<std::int64_t>() || key.is<bool>()) {
        std::int64_t i = m.integer(key, "item");
        if (auto const* l = v.items()) {
            auto const n = static_cast<std::int64_t>(l->size());
            i += i < 0 ? n : 0;
            return i < 0 || i >= n ? value::missing("item") : (*l)[static_cast<std::size_t>(i)];
        }
        if (auto const* s = v.string()) {
            m.spend(s->size());
            std::vector<std::string_view> const letters = characters(*s);
            auto const n = static_cast<std::int64_t>(letters.size());
            i += i < 0 ? n : 0;
            return i < 0 || i >= n ? value::missing("item")
                                   : value::of(letters[static_cast<std::size_t>(i)]);
        }
    }
    return value::missing("item");
}

/// v[from:to:step]; null is absent.
inline value slice(machine& m, value const& v, value const* from, value const* to,
                   value const* step) {
    auto const given = [&](value const* x) {
        return x != nullptr && !x->is<value::none>() ? x : nullptr;
    };
    bool const is_text = v.string() != nullptr;
    if (is_text) {
        m.walk(v);
    }
    if (!is_text && v.items() == nullptr) {
        if (v.is<undefined>()) {
            m.fail("a slice of " + machine::described(v));
        }
        return value::missing("slice");
    }
    std::vector<std::string_view> const letters =
        is_text ? characters(*v.string()) : std::vector<std::string_view>();
    auto const n = static_cast<std::int64_t>(is_text ? letters.size() : v.items()->size());
    m.spend(static_cast<std::size_t>(n));
    std::int64_t const by = given(step) ? m.integer(*step, "slice") : 1;
    if (by == 0 || by < -n - 1) {
        m.refuse("a slice with step " + std::to_string(by));
    }
    std::int64_t const lowest = by < 0 ? -1 : 0;
    std::int64_t const highest = by < 0 ? n - 1 : n;
    auto const end = [&](value const* x, std::int64_t otherwise) {
        if (given(x) == nullptr) {
            return otherwise;
        }
        std::int64_t const i = m.integer(*x, "slice");
        return std::clamp(i < 0 ? std::max(i, -n - 1) + n : i, lowest, highest);
    };
    std::int64_t const first = end(from, by < 0 ? highest : lowest);
    std::int64_t const last = end(to, by < 0 ? lowest : highest);
    std::string text;
    value_list items;
    for (std::int64_t i = first; by < 0 ? i > last : i < last;) {
        auto const k = static_cast<std::size_t>(i);
        if (is_text) {
            text += letters[k];
        } else {
            items.push_back((*v.items())[k]);
        }
        if (by > n) {
            break;
        }
        i += by;
    }
    return is_text                ? m.text(std::move(text))
           : v.is<value::tuple>() ? m.tuple(std::move(items))
                                  : m.list(std::move(items));
}

}  // namespace fpq::chat
