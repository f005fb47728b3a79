// SPDX-License-Identifier: Apache-2.0
// Floor 5. Expressions of a chat template, by recursive descent in Jinja's order of precedence.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "fpq/io/chat/chat_error.hpp"
#include "fpq/io/chat/chat_lexer.hpp"
#include "fpq/io/chat/chat_syntax.hpp"
#include "fpq/io/chat/chat_tokens.hpp"

namespace fpq::chat {

class expression_parser : protected token_stream {
public:
    using token_stream::token_stream;

protected:
    using kind = expression_kind;

    expression_ptr whole_expression() {
        nested const guard(*this);
        expression_ptr left = logical_or();
        while (accept_name("if")) {
            expression_ptr condition = logical_or();
            expression_ptr otherwise = accept_name("else") ? whole_expression() : nullptr;
            left = make(kind::conditional, {}, std::move(left), std::move(condition),
                        std::move(otherwise));
        }
        return left;
    }

    expression_ptr logical_or() {
        expression_ptr left = logical_and();
        while (accept_name("or")) {
            left = make(kind::logical_or, {}, std::move(left), logical_and());
        }
        return left;
    }

    /// What may stand before a comma: with commas a list ("{% set a = 1, 2 %}").
    expression_ptr tuple() {
        expression_ptr first = whole_expression();
        if (!is_op(",")) {
            return first;
        }
        std::vector<expression_ptr> items;
        items.push_back(std::move(first));
        while (accept_op(",")) {
            if (is_op(")") || now().kind == token_kind::block_end ||
                now().kind == token_kind::output_end) {
                break;
            }
            items.push_back(whole_expression());
        }
        return make_list("(", std::move(items));
    }

private:
    template <class... Args>
    expression_ptr make(kind k, std::string text, Args... args) {
        auto out = std::make_unique<expression>();
        out->kind = k;
        out->line = now().line;
        out->text = std::move(text);
        (add(*out, std::move(args)), ...);
        return out;
    }
    /// A child; long chains are deep trees too.
    void add(expression& parent, expression_ptr child) {
        if (child != nullptr) {
            parent.depth = std::max(parent.depth, child->depth + 1);
            if (parent.depth > 4 * depth_limit) {
                fail_construct(here(), "an expression of more than " +
                                           std::to_string(4 * depth_limit) + " levels");
            }
        }
        parent.args.push_back(std::move(child));
    }
    expression_ptr make_list(std::string bracket, std::vector<expression_ptr> items) {
        expression_ptr out = make(kind::list, std::move(bracket));
        for (expression_ptr& item : items) {
            add(*out, std::move(item));
        }
        return out;
    }
    expression_ptr constant(value v) {
        expression_ptr out = make(kind::constant, {});
        out->literal = std::move(v);
        return out;
    }

    expression_ptr logical_and() {
        expression_ptr left = logical_not();
        while (accept_name("and")) {
            left = make(kind::logical_and, {}, std::move(left), logical_not());
        }
        return left;
    }
    expression_ptr logical_not() {
        nested const guard(*this);
        if (accept_name("not")) {
            return make(kind::logical_not, {}, logical_not());
        }
        return comparison();
    }

    expression_ptr comparison() {
        expression_ptr left = sum();
        expression_ptr out;
        for (;;) {
            std::string op;
            for (std::string_view const symbol : {"==", "!=", "<=", ">=", "<", ">"}) {
                if (op.empty() && accept_op(symbol)) {
                    op = symbol;
                }
            }
            if (op.empty() && accept_name("in")) {
                op = "in";
            } else if (op.empty() && is_name("not") && is_name("in", 1)) {
                take();
                take();
                op = "not in";
            }
            if (op.empty()) {
                return out ? std::move(out) : std::move(left);
            }
            if (!out) {
                out = make(kind::compare, {}, std::move(left));
            }
            out->ops.push_back(op);
            add(*out, sum());
        }
    }

    expression_ptr sum() {
        expression_ptr left = joined();
        while (is_op("+") || is_op("-")) {
            std::string const op = take().text;
            left = make(kind::arithmetic, op, std::move(left), joined());
        }
        return left;
    }
    expression_ptr joined() {
        expression_ptr first = product();
        if (!is_op("~")) {
            return first;
        }
        expression_ptr out = make(kind::join, {}, std::move(first));
        while (accept_op("~")) {
            add(*out, product());
        }
        return out;
    }
    expression_ptr product() {
        expression_ptr left = unary(true);
        while (is_op("*") || is_op("/") || is_op("//") || is_op("%")) {
            std::string const op = take().text;
            left = make(kind::arithmetic, op, std::move(left), unary(true));
        }
        if (is_op("**")) {
            fail_construct(here(), "operator **");
        }
        return left;
    }
    expression_ptr unary(bool filters) {
        nested const guard(*this);
        expression_ptr out;
        if (accept_op("-")) {
            out = make(kind::negate, {}, unary(false));
        } else if (accept_op("+")) {
            out = make(kind::positive, {}, unary(false));
        } else {
            out = primary();
        }
        out = postfix(std::move(out));
        return filters ? filtered(std::move(out)) : std::move(out);
    }

    expression_ptr primary() {
        token const t = take();
        switch (t.kind) {
            case token_kind::name:
                if (t.text == "true" || t.text == "True" || t.text == "false" ||
                    t.text == "False") {
                    return constant(value::boolean(t.text[0] == 't' || t.text[0] == 'T'));
                }
                return t.text == "none" || t.text == "None" ? constant(value::null())
                                                            : make(kind::name, t.text);
            case token_kind::string: {
                std::string text = t.text;
                while (now().kind == token_kind::string) {
                    text += take().text;
                }
                return constant(value::of(std::move(text)));
            }
            case token_kind::integer:
            case token_kind::real:
                return number(t);
            default:
                break;
        }
        if (t.kind == token_kind::op && t.text == "(") {
            if (accept_op(")")) {
                return make_list("(", {});
            }
            expression_ptr out = tuple();
            expect_op(")");
            return out;
        }
        if (t.kind == token_kind::op && t.text == "[") {
            return list();
        }
        if (t.kind == token_kind::op && t.text == "{") {
            return dict();
        }
        back();
        fail_syntax(here(), "an expression", found());
    }

    expression_ptr number(token const& t) {
        char const* const end = t.text.data() + t.text.size();
        std::int64_t whole = 0;
        double real = 0;
        bool const is_real = t.kind == token_kind::real;
        auto const result = is_real ? std::from_chars(t.text.data(), end, real)
                                    : std::from_chars(t.text.data(), end, whole);
        if (result.ec != std::errc{}) {
            fail_construct(here(), "number " + t.text.substr(0, 40));
        }
        return constant(is_real ? value(value::data(real)) : value::integer(whole));
    }

    expression_ptr list() {
        std::vector<expression_ptr> items;
        while (!accept_op("]")) {
            if (!items.empty()) {
                expect_op(",");
                if (accept_op("]")) {
                    break;
                }
            }
            items.push_back(whole_expression());
        }
        return make_list("[", std::move(items));
    }
    expression_ptr dict() {
        expression_ptr out = make(kind::dict, {});
        while (!accept_op("}")) {
            if (!out->args.empty()) {
                expect_op(",");
                if (accept_op("}")) {
                    break;
                }
            }
            add(*out, whole_expression());
            expect_op(":");
            add(*out, whole_expression());
        }
        return out;
    }

    expression_ptr postfix(expression_ptr left) {
        for (;;) {
            if (accept_op(".")) {
                if (now().kind == token_kind::integer) {
                    left = make(kind::item, {}, std::move(left), number(take()));
                } else {
                    std::string name = expect_name("a name behind the point");
                    left = make(kind::attribute, std::move(name), std::move(left));
                }
            } else if (accept_op("[")) {
                left = subscript(std::move(left));
            } else if (is_op("(")) {
                left = make(kind::call, {}, std::move(left));
                arguments(*left);
            } else {
                return left;
            }
        }
    }

    expression_ptr subscript(expression_ptr left) {
        expression_ptr first = is_op(":") ? nullptr : whole_expression();
        if (accept_op("]")) {
            return make(kind::item, {}, std::move(left), std::move(first));
        }
        if (is_op(",")) {
            fail_construct(here(), "a subscript of several values");
        }
        expect_op(":");
        auto const part = [&] { return is_op(":") || is_op("]") ? nullptr : whole_expression(); };
        expression_ptr second = part();
        expression_ptr step = accept_op(":") ? part() : nullptr;
        expect_op("]");
        return make(kind::slice, {}, std::move(left), std::move(first), std::move(second),
                    std::move(step));
    }

    /// "(a, b, name=c)".
    void arguments(expression& out) {
        expect_op("(");
        for (bool first = true; !accept_op(")"); first = false) {
            if (!first) {
                expect_op(",");
                if (accept_op(")")) {
                    return;
                }
            }
            if (is_op("*") || is_op("**")) {
                fail_construct(here(), "arguments from a list (*)");
            }
            if (now().kind == token_kind::name && is_op("=", 1)) {
                std::string name = take().text;
                take();
                expression_ptr given = whole_expression();
                out.depth = std::max(out.depth, given->depth + 1);
                out.named.emplace_back(std::move(name), std::move(given));
            } else if (!out.named.empty()) {
                fail_syntax(here(), "a named argument", found());
            } else {
                add(out, whole_expression());
            }
        }
    }

    expression_ptr filtered(expression_ptr left) {
        for (;;) {
            if (accept_op("|")) {
                std::string name = expect_name("the name of a filter");
                left = make(kind::filter, std::move(name), std::move(left));
                if (is_op("(")) {
                    arguments(*left);
                }
            } else if (accept_name("is")) {
                left = test(std::move(left));
            } else if (is_op("(")) {
                left = make(kind::call, {}, std::move(left));
                arguments(*left);
            } else {
                return left;
            }
        }
    }

    expression_ptr test(expression_ptr left) {
        bool const negated = accept_name("not");
        std::string name = expect_name("the name of a test");
        expression_ptr out = make(kind::test, std::move(name), std::move(left));
        bool const is_argument = now().kind == token_kind::string ||
                                 now().kind == token_kind::integer ||
                                 now().kind == token_kind::real || is_op("[") || is_op("{") ||
                                 (now().kind == token_kind::name && !is_name("else") &&
                                  !is_name("or") && !is_name("and") && !is_name("if") &&
                                  !is_name("is") && !is_name("not") && !is_name("in"));
        if (is_op("(")) {
            arguments(*out);
        } else if (is_argument) {
            add(*out, postfix(primary()));
        }
        return negated ? make(kind::logical_not, {}, std::move(out)) : std::move(out);
    }
};

}  // namespace fpq::chat
