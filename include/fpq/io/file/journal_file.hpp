// SPDX-License-Identifier: Apache-2.0
// Floor 5. A journal: one JSON object a line, each appended by one write and flushed. A line that
// was cut short by a kill does not count.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/io/file/file_actions.hpp"
#include "fpq/io/file/mapped_file.hpp"
#include "fpq/io/json/json_text.hpp"

namespace fpq {

class journal_file {
public:
    /// No journal: nothing may be added.
    journal_file() = default;

    /// Opens the journal at `path`, made when it is absent; with `access` O_RDONLY only to look at
    /// one that is there. Errors: fpq::error (input).
    explicit journal_file(std::filesystem::path path, int access = O_RDWR | O_CREAT)
        : path_(std::move(path)) {
        detail::unique_fd fd(::open(path_.c_str(), access | O_CLOEXEC, 0666));
        if (!fd) {
            detail::fail_write("cannot open", path_, errno);
        }
        std::string text;
        char piece[65536];
        for (;;) {
            ::ssize_t const got = ::read(fd.get(), piece, sizeof piece);
            if (got < 0 && errno == EINTR) {
                continue;
            }
            if (got < 0) {
                detail::fail_write("cannot read", path_, errno);
            }
            if (got == 0) {
                break;
            }
            text.append(piece, static_cast<std::size_t>(got));
        }
        std::string_view left = text;
        while (true) {
            std::size_t const end = left.find('\n');
            if (end == std::string_view::npos) {
                break;
            }
            nlohmann::json line = nlohmann::json::parse(left.substr(0, end), nullptr, false);
            if (!line.is_object()) {
                break;
            }
            lines_.push_back(std::move(line));
            left.remove_prefix(end + 1);
        }
        size_ = text.size() - left.size();  // what follows is cut off by the next line
        fd_ = std::move(fd);
    }

    [[nodiscard]] std::vector<nlohmann::json> const& lines() const noexcept { return lines_; }

    /// The value of `key` in the first line that has it; null when none has.
    [[nodiscard]] nlohmann::json const* find(std::string_view key) const {
        for (nlohmann::json const& line : lines_) {
            auto const at = line.find(key);
            if (at != line.end()) {
                return &*at;
            }
        }
        return nullptr;
    }

    /// Appends a line; it is on disk when this returns, where the file system says so.
    void add(nlohmann::json line) {
        std::string const text = utf8_json(line).dump() + "\n";
        if (::ftruncate(fd_.get(), static_cast<::off_t>(size_)) != 0) {
            detail::fail_write("cannot size", path_, errno);
        }
        detail::write_all(fd_.get(), std::as_bytes(std::span(text)), size_, path_);
        size_ += text.size();
        static_cast<void>(::fdatasync(fd_.get()));
        lines_.push_back(std::move(line));
    }

private:
    std::filesystem::path path_;
    detail::unique_fd fd_;
    std::size_t size_ = 0;
    std::vector<nlohmann::json> lines_;
};

}  // namespace fpq
