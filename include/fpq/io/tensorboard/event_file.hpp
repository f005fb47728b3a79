// SPDX-License-Identifier: Apache-2.0
// Floor 5. A file of events that TensorBoard reads while it grows. Every event is one write, so
// that a run that is killed leaves whole events, or one that is cut at the end, which readers drop.
#pragma once

#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/file_actions.hpp"
#include "fpq/io/file/mapped_file.hpp"
#include "fpq/io/tensorboard/event.hpp"

namespace fpq {

namespace detail {

/// This machine's name as part of a file's name.
inline std::string host_name() {
    std::array<char, 256> name{};
    if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') {
        return "localhost";
    }
    std::string out = name.data();
    for (char& c : out) {
        if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '.' && c != '-') {
            c = '_';
        }
    }
    return out;
}

}  // namespace detail

class event_file {
public:
    /// Makes `directory` and a new file in it, events.out.tfevents.SECONDS.HOST, with a number
    /// behind it where that is taken, and writes its first event. `now` is in seconds since 1970.
    /// Errors: fpq::error (input) by path.
    event_file(std::filesystem::path const& directory, double now) {
        std::error_code failed;
        std::filesystem::create_directories(directory, failed);
        if (failed) {
            fail_input("cannot make a directory", directory.string(), "success", failed.message());
        }
        std::string const stem = "events.out.tfevents." +
                                 std::to_string(static_cast<std::int64_t>(now)) + "." +
                                 detail::host_name();
        constexpr int most = 1000;
        for (int i = 0; !fd_; ++i) {
            path_ = directory / (i == 0 ? stem : stem + "." + std::to_string(i));
            fd_ = detail::unique_fd(
                ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
            if (!fd_ && (errno != EEXIST || i == most)) {
                detail::fail_write("cannot create", path_, errno);
            }
        }
        add(version_event(now));
    }

    /// A number of the series `tag`. What float cannot hold becomes infinite, as there.
    void add_scalar(std::string_view tag, std::int64_t step, double value, double now) {
        constexpr double most = std::numeric_limits<float>::max();
        constexpr float infinite = std::numeric_limits<float>::infinity();
        float const narrow = value > most    ? infinite
                             : value < -most ? -infinite
                                             : static_cast<float>(value);
        add(scalar_event(now, step, tag, narrow));
    }

    void add_text(std::string_view tag, std::string_view markdown, double now) {
        add(text_event(now, 0, tag, markdown));
    }

    [[nodiscard]] std::filesystem::path const& path() const noexcept { return path_; }

private:
    void add(std::string_view event) {
        std::string const record = tf_record(event);
        try {
            detail::write_all(fd_.get(), std::as_bytes(std::span(record)), size_, path_);
        } catch (error const&) {
            static_cast<void>(!::ftruncate(fd_.get(), static_cast<::off_t>(size_)));
            throw;
        }
        size_ += record.size();
    }

    std::filesystem::path path_;
    detail::unique_fd fd_;
    std::uint64_t size_ = 0;
};

}  // namespace fpq
