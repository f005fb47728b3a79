// SPDX-License-Identifier: Apache-2.0
// Floor 5. The conversation of one row of a data set, in the one shape that chat templates know: a
// list of messages with role and content.
#pragma once

#include <array>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/io/json/json_value.hpp"

namespace fpq {

namespace detail {

/// A message's content: a string, parts of which those of type "text" count, or nothing where null
/// stands beside a call of a tool, or where the call stands alone.
inline std::string message_content(json_value const& message) {
    auto const content = message.find("content");
    if (!content && (message.json().contains("content") || message.has("tool_calls"))) {
        return {};
    }
    if (content && content->json().is_array()) {
        std::string out;
        for (json_value const& part : content->elements()) {
            if (part.required<std::string>("type") == "text") {
                out += part.required<std::string>("text");
            }
        }
        return out;
    }
    return message.required<std::string>("content");
}

/// ShareGPT's names of the speakers.
inline std::string_view role_of_speaker(std::string_view from) {
    constexpr std::array<std::pair<std::string_view, std::string_view>, 4> names{
        {{"human", "user"}, {"gpt", "assistant"}, {"chatgpt", "assistant"}, {"bot", "assistant"}}};
    for (auto const& [name, role] : names) {
        if (from == name) {
            return role;
        }
    }
    return from;
}

inline nlohmann::ordered_json turn(std::string_view role, std::string_view content) {
    return {{"role", role}, {"content", content}};
}

}  // namespace detail

/// The messages of a row, or nothing when it is none of: messages (role, content and more, which
/// stays); conversations (from and value, or role and content); instruction, input and output;
/// question and answer. Content is text always. `ordered`: the row again, with its members in the
/// order of the file. Errors: fpq::error (input) by the row's place and key.
inline std::optional<nlohmann::ordered_json> conversation_of(
    json_value const& row, nlohmann::ordered_json const& ordered) {
    nlohmann::ordered_json out = nlohmann::ordered_json::array();
    char const* const key = row.has("messages") ? "messages" : "conversations";
    if (row.has(key)) {
        std::vector<json_value> const messages = row.at(key).elements();
        for (std::size_t i = 0; i < messages.size(); ++i) {
            json_value const& message = messages[i];
            if (message.has("from") && !message.has("role")) {
                out.push_back(
                    detail::turn(detail::role_of_speaker(message.required<std::string>("from")),
                                 message.required<std::string>("value")));
                continue;
            }
            if (key[0] == 'c' && !message.has("role")) {
                (void)message.required<std::string>("from");
            }
            (void)message.required<std::string>("role");
            out.push_back(ordered.at(key).at(i));
            out.back()["content"] = detail::message_content(message);
        }
        return out;
    }
    if (row.has("instruction") && row.has("output")) {
        std::string user = row.required<std::string>("instruction");
        std::string const input = row.optional<std::string>("input").value_or("");
        user.append(input.empty() ? "" : "\n\n").append(input);
        out.push_back(detail::turn("user", user));
        out.push_back(detail::turn("assistant", row.required<std::string>("output")));
        return out;
    }
    if (row.has("question") && row.has("answer")) {
        out.push_back(detail::turn("user", row.required<std::string>("question")));
        out.push_back(detail::turn("assistant", row.required<std::string>("answer")));
        return out;
    }
    return std::nullopt;
}

}  // namespace fpq
