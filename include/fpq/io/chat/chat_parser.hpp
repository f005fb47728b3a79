// SPDX-License-Identifier: Apache-2.0
// Floor 5. Statements of a chat template. What Jinja has beyond them is refused by its name.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/io/chat/chat_error.hpp"
#include "fpq/io/chat/chat_expressions.hpp"
#include "fpq/io/chat/chat_lexer.hpp"
#include "fpq/io/chat/chat_syntax.hpp"

namespace fpq::chat {

class parser : expression_parser {
public:
    using expression_parser::expression_parser;

    std::vector<statement> run() {
        std::vector<statement> out = body({});
        if (now().kind != token_kind::end) {
            fail_syntax(here(), "a statement", "{% " + now().text);
        }
        return out;
    }

private:
    using kind = statement_kind;

    /// Statements up to a block whose name is one of `ends`; the position is on that name.
    std::vector<statement> body(std::vector<std::string_view> const& ends) {
        nested const guard(*this);
        std::vector<statement> out;
        for (;;) {
            switch (now().kind) {
                case token_kind::end:
                    if (!ends.empty()) {
                        fail_syntax(here(), "{% " + std::string(ends.back()) + " %}",
                                    "the end of the template");
                    }
                    return out;
                case token_kind::text: {
                    statement s = begin(kind::text);
                    s.text = take().text;
                    out.push_back(std::move(s));
                    break;
                }
                case token_kind::output_begin: {
                    take();
                    statement s = begin(kind::output);
                    s.expr = tuple();
                    if (now().kind != token_kind::output_end) {
                        fail_syntax(here(), "}}", found());
                    }
                    take();
                    out.push_back(std::move(s));
                    break;
                }
                default:
                    take();  // {%
                    for (std::string_view const name : ends) {
                        if (is_name(name)) {
                            return out;
                        }
                    }
                    out.push_back(block());
            }
        }
    }

    statement begin(kind k) {
        statement s{};
        s.kind = k;
        s.line = now().line;
        return s;
    }
    void end_block() {
        if (now().kind != token_kind::block_end) {
            fail_syntax(here(), "%}", found());
        }
        take();
    }

    statement block() {
        std::string const name = now().text;
        if (now().kind != token_kind::name) {
            fail_syntax(here(), "a statement", found());
        }
        if (name == "if") {
            return branch();
        }
        if (name == "for") {
            return loop();
        }
        if (name == "set") {
            return assign();
        }
        if (name == "macro") {
            return macro();
        }
        if (name == "break" || name == "continue") {
            if (loops_ == 0) {
                fail_syntax(here(), "a loop around it", name);
            }
            statement s = begin(name == "break" ? kind::stop : kind::skip);
            take();
            end_block();
            return s;
        }
        if (name == "generation") {
            statement s = begin(kind::group);
            take();
            end_block();
            s.arms.push_back({nullptr, body({"endgeneration"})});
            take();
            end_block();
            return s;
        }
        static constexpr std::array<std::string_view, 13> known{
            "block", "extends", "include", "import",     "from",  "call", "filter",
            "with",  "do",      "raw",     "autoescape", "trans", "debug"};
        for (std::string_view const other : known) {
            if (name == other) {
                fail_construct(here(), "{% " + name + " %}");
            }
        }
        fail_syntax(here(), "a statement", "{% " + name.substr(0, 60));
    }

    statement branch() {
        statement s = begin(kind::branch);
        do {
            bool const is_else = is_name("else");
            take();
            expression_ptr condition = is_else ? nullptr : tuple();
            end_block();
            s.arms.push_back({std::move(condition),
                              is_else ? body({"endif"}) : body({"elif", "else", "endif"})});
        } while (!is_name("endif"));
        take();
        end_block();
        return s;
    }

    std::vector<std::string> targets() {
        std::vector<std::string> out;
        bool const brackets = accept_op("(");
        do {
            out.push_back(expect_name("the name of a variable"));
        } while (accept_op(","));
        if (brackets) {
            expect_op(")");
        }
        return out;
    }

    statement loop() {
        statement s = begin(kind::loop);
        take();
        s.names = targets();
        if (!accept_name("in")) {
            fail_syntax(here(), "in", found());
        }
        s.expr = logical_or();
        if (is_op(",")) {
            fail_construct(here(), "a loop over a list without brackets");
        }
        if (accept_name("if")) {
            s.condition = whole_expression();
        }
        if (is_name("recursive")) {
            fail_construct(here(), "{% for ... recursive %}");
        }
        end_block();
        ++loops_;
        ++scopes_;
        s.arms.push_back({nullptr, body({"else", "endfor"})});
        --loops_;
        if (accept_name("else")) {
            end_block();
            s.arms.push_back({nullptr, body({"endfor"})});
        }
        --scopes_;
        take();
        end_block();
        return s;
    }

    statement assign() {
        statement s = begin(kind::assign);
        take();
        if (now().kind == token_kind::name && is_op(".", 1)) {
            s.text = take().text;
            take();
            s.names.push_back(expect_name("the name of a member"));
        } else {
            s.names = targets();
        }
        if (accept_op("=")) {
            s.expr = tuple();
            end_block();
            return s;
        }
        if (is_op("|") || !s.text.empty() || s.names.size() != 1) {
            fail_construct(here(), "{% set %} of a block with a filter or several names");
        }
        s.kind = kind::assign_block;
        end_block();
        s.arms.push_back({nullptr, body({"endset"})});
        take();
        end_block();
        return s;
    }

    statement macro() {
        statement s = begin(kind::macro);
        if (scopes_ != 0) {
            fail_construct(here(), "{% macro %} inside of a loop or macro");
        }
        take();
        s.text = expect_name("the name of a macro");
        expect_op("(");
        while (!accept_op(")")) {
            if (!s.names.empty()) {
                expect_op(",");
            }
            s.names.push_back(expect_name("the name of a parameter"));
            s.defaults.push_back(accept_op("=") ? whole_expression() : nullptr);
        }
        end_block();
        ++scopes_;
        s.arms.push_back({nullptr, body({"endmacro"})});
        --scopes_;
        take();
        end_block();
        return s;
    }

    std::size_t loops_ = 0;   // around
    std::size_t scopes_ = 0;  // loops and macros: their variables do not outlive them
};

}  // namespace fpq::chat
