// SPDX-License-Identifier: Apache-2.0
// Floor 5. A parsed chat template.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fpq/io/chat/chat_value.hpp"

namespace fpq::chat {

enum class expression_kind {
    constant,     // literal
    name,         // text
    list,         // args; text: [ or (, a tuple
    dict,         // args: key, value, key, value ...
    negate,       // args[0]
    positive,     // args[0]
    logical_not,  // args[0]
    logical_and,  // args[0], args[1]
    logical_or,
    arithmetic,   // args[0] text args[1]
    join,         // args as one text (~)
    compare,      // args[0] ops[0] args[1] ops[1] args[2] ...
    conditional,  // args[0] if args[1] else args[2], which may be null
    attribute,    // args[0].text
    item,         // args[0][args[1]]
    slice,        // args[0][args[1]:args[2]:args[3]], each of which may be null
    call,         // args[0](args[1] ..., named)
    filter,       // args[0] | text(args[1] ..., named)
    test          // args[0] is text(args[1] ...)
};

struct expression;
using expression_ptr = std::unique_ptr<expression>;

struct expression {
    expression_kind kind;
    std::size_t line;
    std::string text;
    value literal;
    std::vector<expression_ptr> args;
    std::vector<std::pair<std::string, expression_ptr>> named;
    std::vector<std::string> ops;
    std::size_t depth = 1;  // of the tree
};

enum class statement_kind {
    text,          // text
    output,        // expr
    branch,        // arms: condition (null: else) and body
    loop,          // for names in expr if condition: arms[0], else arms[1]
    assign,        // set names (or text.names[0]) = expr
    assign_block,  // set names[0]: arms[0]
    macro,         // text(names = defaults): arms[0]
    group,         // arms[0]: {% generation %}
    stop,          // break
    skip           // continue
};

struct statement;
struct arm {
    expression_ptr condition;
    std::vector<statement> body;
};

struct statement {
    statement_kind kind;
    std::size_t line;
    std::string text;
    expression_ptr expr;
    expression_ptr condition;
    std::vector<std::string> names;
    std::vector<expression_ptr> defaults;  // beside names; may be null
    std::vector<arm> arms;
};

}  // namespace fpq::chat
