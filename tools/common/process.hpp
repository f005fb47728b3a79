// SPDX-License-Identifier: Apache-2.0
// What every program of ours does before anything else: standard streams that are open, signals
// that end in a line and an exit code, and messages to stderr that never end a run. For the tools'
// own main only: it changes state of the process, which a library must not.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <string_view>
#include <utility>

#include "fpq/core/hosted/printable.hpp"

namespace fpq::tools {

/// Prints to stderr; a full or closed log loses the message and nothing else.
template <class... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
    std::string const text = fmt::format(format, std::forward<Args>(args)...);
    static_cast<void>(std::fwrite(text.data(), 1, text.size(), stderr));
    static_cast<void>(std::fflush(stderr));
}

/// Opens /dev/null on each of descriptors 0 to 2 that is closed: else the next file opened would
/// get its number, and what is printed would be written into it.
inline void open_standard_streams() {
    for (int fd = 0; fd <= 2; ++fd) {
        if (::fcntl(fd, F_GETFD) == -1 && errno == EBADF &&
            ::open("/dev/null", fd == 0 ? O_RDONLY : O_WRONLY) != fd) {
            ::_exit(3);
        }
    }
}

namespace detail {

/// What the handler says, prepared beforehand: it may only call what is safe in a handler.
struct interruption {
    static constexpr std::size_t room = 5000;
    std::array<char, room> line{};     // "program: interrupted"
    std::array<char, room> partial{};  // a path, or empty
    std::array<char, room> advice{};   // said when that path exists: it as printed, and what to do
    std::array<char, room> memory{};   // "program: out of memory"
    std::atomic_flag ending;
    std::atomic<bool> silent{false};
    std::terminate_handler before = nullptr;
};

inline interruption& prepared() {
    static interruption state;
    return state;
}

inline void keep(std::array<char, interruption::room>& to, std::string_view text) {
    std::size_t const size = text.size() < to.size() ? text.size() : to.size() - 1;
    std::memcpy(to.data(), text.data(), size);
    to[size] = '\0';
}

inline void put(char const* text) { static_cast<void>(!::write(2, text, std::strlen(text))); }

/// One line, and the exit code that shells give: 128 + the signal's number.
inline void end_of_run(int number) {
    interruption& state = prepared();
    while (state.ending.test_and_set()) {
        ::pause();  // a second signal, on another thread: the first has the word
    }
    if (state.silent) {
        ::_exit(128 + number);
    }
    put(::isatty(2) == 1 ? "\r\033[K" : "");
    put(state.line.data());
    struct stat facts {};
    if (state.partial[0] != '\0' && ::stat(state.partial.data(), &facts) == 0) {
        put(": ");
        put(state.advice.data());
    }
    put("\n");
    ::_exit(128 + number);
}

/// Memory may run out where nothing may be thrown: in a destructor.
[[noreturn]] inline void end_of_memory() {
    try {
        if (std::exception_ptr const why = std::current_exception()) {
            std::rethrow_exception(why);
        }
    } catch (std::bad_alloc const&) {
        put(prepared().memory.data());
        ::_exit(3);
    } catch (...) {
    }
    if (prepared().before != nullptr) {
        prepared().before();
    }
    std::abort();
}

}  // namespace detail

/// SIGINT, SIGTERM and SIGHUP end the program at once with one line and exit code 130, 143 or 129;
/// those that are ignored (nohup) stay so. Writing beyond a limit of file size or to a closed pipe
/// is an error of the write, not the end of the process. Out of memory is a line and exit code 3,
/// wherever it happens.
inline void handle_signals(std::string_view program) {
    detail::keep(detail::prepared().line, std::string(program) + ": interrupted");
    for (int const number : {SIGINT, SIGTERM, SIGHUP}) {
        struct sigaction before {};
        if (::sigaction(number, nullptr, &before) == 0 && before.sa_handler != SIG_IGN) {
            struct sigaction action {};
            action.sa_handler = detail::end_of_run;
            ::sigfillset(&action.sa_mask);
            ::sigaction(number, &action, nullptr);
        }
    }
    ::signal(SIGXFSZ, SIG_IGN);
    ::signal(SIGPIPE, SIG_IGN);
    detail::keep(detail::prepared().memory, std::string(program) + ": out of memory\n");
    detail::prepared().before = std::set_terminate(detail::end_of_memory);
}

/// Another process says what ends this one.
inline void end_silently() { detail::prepared().silent = true; }

/// Names what an interrupted run leaves behind: when `path` exists then, the line goes on with it
/// and `advice`.
inline void on_interruption(std::string_view path, std::string_view advice) {
    detail::keep(detail::prepared().advice,
                 fpq::detail::printable(path, 1000) + std::string(advice));
    detail::keep(detail::prepared().partial, path);
}

}  // namespace fpq::tools
