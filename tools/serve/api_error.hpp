// SPDX-License-Identifier: Apache-2.0
// What a client is told instead of an answer: an HTTP status and the API's error object.
#pragma once

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>

namespace fpq::tools {

/// Thrown where a request is refused or fails. what() is the message.
class api_error : public std::runtime_error {
public:
    /// `param` is the member of the request that is at fault, `code` a word for programs; both may
    /// be empty.
    api_error(int status, std::string const& message, std::string param = {}, std::string code = {})
        : std::runtime_error(message),
          status_(status),
          param_(std::move(param)),
          code_(std::move(code)) {}

    [[nodiscard]] int status() const noexcept { return status_; }
    [[nodiscard]] std::string const& param() const noexcept { return param_; }

    /// {"error": {"message", "type", "param", "code"}}; what is empty is null.
    [[nodiscard]] nlohmann::ordered_json body() const {
        auto const text_or_null = [](std::string const& text) {
            return text.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(text);
        };
        return {{"error",
                 {{"message", what()},
                  {"type", type()},
                  {"param", text_or_null(param_)},
                  {"code", text_or_null(code_)}}}};
    }

private:
    [[nodiscard]] char const* type() const noexcept {
        return status_ == 401   ? "authentication_error"
               : status_ == 403 ? "permission_error"
               : status_ == 429 ? "rate_limit_error"
               : status_ >= 500 ? "server_error"
                                : "invalid_request_error";
    }

    int status_;
    std::string param_;
    std::string code_;
};

}  // namespace fpq::tools
