// SPDX-License-Identifier: Apache-2.0
// Floor 5. Documents in order, read one at a time: a few in memory, many in an unnamed temporary
// file. A calibration set may be larger than the memory, its windows never are.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/mapped_file.hpp"
#include "fpq/io/text/text_unicode.hpp"

namespace fpq {

/// Move only. Temporary files lie where std::filesystem::temp_directory_path says (TMPDIR).
/// Errors of append and document: fpq::error (input) by that directory, when it is full as a rule.
class document_store {
public:
    /// Bytes that are held in memory; beyond them goes the file.
    static constexpr std::size_t memory_bytes = std::size_t{8} << 20;

    document_store() = default;
    document_store(std::vector<std::string> const& documents) {  // NOLINT: a vector is one
        for (std::string const& text : documents) {
            append(text);
        }
    }
    document_store(std::initializer_list<std::string> documents)
        : document_store(std::vector<std::string>(documents)) {}

    void append(std::string_view text) {
        malformed_ += valid_utf8_prefix(text) != text.size() ? 1 : 0;
        for (std::size_t at = text.find(mark); at != std::string_view::npos;
             at = text.find(mark, at + mark.size())) {
            ++replaced_;
        }
        if (recent_.size() + text.size() > memory_bytes && !recent_.empty()) {
            spill();
        }
        recent_ += text;
        ends_.push_back(spilled_ + recent_.size());
    }

    [[nodiscard]] std::size_t size() const noexcept { return ends_.size(); }
    [[nodiscard]] bool empty() const noexcept { return ends_.empty(); }
    /// Of all documents together.
    [[nodiscard]] std::uint64_t bytes() const noexcept { return ends_.empty() ? 0 : ends_.back(); }
    /// Documents that are no valid UTF-8.
    [[nodiscard]] std::size_t malformed() const noexcept { return malformed_; }
    /// U+FFFD in all documents: what a decoder writes for what it did not understand.
    [[nodiscard]] std::size_t replaced() const noexcept { return replaced_; }

    /// Document i, below size().
    [[nodiscard]] std::string operator[](std::size_t i) const {
        std::uint64_t const begin = i == 0 ? 0 : ends_[i - 1];
        auto const length = static_cast<std::size_t>(ends_[i] - begin);
        if (begin >= spilled_) {
            return recent_.substr(static_cast<std::size_t>(begin - spilled_), length);
        }
        std::string out(length, '\0');
        for (std::size_t at = 0; at < length;) {
            ::ssize_t const got = ::pread(file_.get(), out.data() + at, length - at,
                                          static_cast<::off_t>(begin + at));
            if (got < 0 && errno == EINTR) {
                continue;
            }
            if (got <= 0) {
                refuse("cannot read temporary file");
            }
            at += static_cast<std::size_t>(got);
        }
        return out;
    }
    [[nodiscard]] std::vector<std::string> all() const {
        std::vector<std::string> out;
        for (std::size_t i = 0; i < size(); ++i) {
            out.push_back((*this)[i]);
        }
        return out;
    }

private:
    static constexpr std::string_view mark = "\xEF\xBF\xBD";

    [[noreturn]] static void refuse(char const* what) {
        int const code = errno;
        std::error_code failed;
        std::filesystem::path const directory = std::filesystem::temp_directory_path(failed);
        fail_input(what, failed ? std::string("TMPDIR") : directory.string(),
                   "space for the calibration text", detail::system_words(code));
    }

    /// Documents lie whole in the file or whole in memory.
    void spill() {
        if (!file_) {
            std::error_code failed;
            std::string name =
                (std::filesystem::temp_directory_path(failed) / "fpq-text-XXXXXX").string();
            file_ = detail::unique_fd(failed ? -1 : ::mkostemp(name.data(), O_CLOEXEC));
            if (!file_) {
                refuse("cannot create temporary file");
            }
            ::unlink(name.c_str());
        }
        for (std::size_t at = 0; at < recent_.size();) {
            ::ssize_t const put = ::write(file_.get(), recent_.data() + at, recent_.size() - at);
            if (put < 0 && errno == EINTR) {
                continue;
            }
            if (put <= 0) {
                refuse("cannot write temporary file");
            }
            at += static_cast<std::size_t>(put);
        }
        spilled_ += recent_.size();
        recent_.clear();
    }

    detail::unique_fd file_;
    std::string recent_;               // the bytes behind those of file_
    std::vector<std::uint64_t> ends_;  // of each document
    std::uint64_t spilled_ = 0;        // bytes of file_
    std::size_t malformed_ = 0;
    std::size_t replaced_ = 0;
};

}  // namespace fpq
