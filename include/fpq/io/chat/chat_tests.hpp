// SPDX-License-Identifier: Apache-2.0
// Floor 5. Tests of a chat template ("x is defined").
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "fpq/io/chat/chat_machine.hpp"
#include "fpq/io/chat/chat_operators.hpp"
#include "fpq/io/chat/chat_value.hpp"

namespace fpq::chat {

namespace detail {

inline bool same_object(machine& m, value const& a, value const& b) {
    if (a.is<bool>() || a.is<value::none>() || b.is<bool>() || b.is<value::none>()) {
        return type_name(a) == type_name(b) && m.equal(a, b);
    }
    m.refuse("test 'sameas' of other values than true, false and none");
}

/// The operator that a test with one argument stands for, or nothing.
inline std::string_view operator_of_test(std::string_view name) {
    constexpr std::array<std::pair<std::string_view, std::string_view>, 14> names{
        {{"equalto", "=="},
         {"eq", "=="},
         {"==", "=="},
         {"ne", "!="},
         {"!=", "!="},
         {"lt", "<"},
         {"lessthan", "<"},
         {"<", "<"},
         {"gt", ">"},
         {"greaterthan", ">"},
         {">", ">"},
         {"le", "<="},
         {"ge", ">="},
         {"in", "in"}}};
    for (auto const& [word, op] : names) {
        if (word == name) {
            return op;
        }
    }
    return "";
}

}  // namespace detail

inline bool test(machine& m, std::string const& name, value const& v, arguments const& args) {
    std::string_view const op = detail::operator_of_test(name);
    bool const takes_one = !op.empty() || name == "sameas" || name == "divisibleby";
    if (takes_one || !args.positional.empty() || !args.named.empty()) {
        args.only(m, "test '" + name + "'", takes_one ? 1 : 0);
    }
    if (takes_one && args.positional.empty()) {
        m.fail("test '" + name + "' without an argument");
    }
    if (!op.empty()) {
        return compare(m, std::string(op), v, args.positional[0]);
    }
    if (name == "sameas") {
        return detail::same_object(m, v, args.positional[0]);
    }
    if (name == "divisibleby" || name == "odd" || name == "even") {
        value const by = takes_one ? args.positional[0] : value::integer(2);
        std::int64_t const rest = m.integer(arithmetic(m, "%", v, by), name);
        return (rest == 0) != (name == "odd");
    }
    bool const is_lazy = v.is<std::shared_ptr<generator>>();
    if (name == "defined" || name == "undefined") {
        return v.is<undefined>() == (name == "undefined");
    }
    if (name == "none") {
        return v.is<value::none>();
    }
    if (name == "string") {
        return v.string() != nullptr;
    }
    if (name == "mapping") {
        return v.members() != nullptr;
    }
    if (name == "iterable") {
        return v.string() != nullptr || v.members() != nullptr || v.items() != nullptr ||
               v.is<undefined>() || is_lazy;
    }
    if (name == "sequence") {
        return v.string() != nullptr || v.members() != nullptr || v.items() != nullptr ||
               v.is<undefined>();
    }
    if (name == "number") {
        return v.is_number();
    }
    if (name == "integer") {
        return v.is<std::int64_t>();
    }
    if (name == "float") {
        return v.is<double>();
    }
    if (name == "boolean") {
        return v.is<bool>();
    }
    if (name == "true" || name == "false") {
        return v.is<bool>() && truth(v) == (name == "true");
    }
    if (name == "callable") {
        return v.is<callable>();
    }
    m.refuse("test '" + name + "'");
}

}  // namespace fpq::chat
